"""A policy has every field, says by line and key what is wrong with it, and a wildcard is no loophole."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings, strategies as st

import images.trust
from attestation.errors import PolicyError
from attestation.policy_file import UNCHECKED
from images.signature.errors import SigningKeyError
from images.trust.policy import Inputs, TrustPolicy, load
from tests.fakes.layouts import POLICY, new_key, public_pem

RELEASE, BUILDER = public_pem(new_key()), public_pem(new_key(kind="ed25519"))
EXAMPLE = Path(images.trust.__file__).with_name("policy.toml").read_text()


def read_key(name: str) -> bytes:
    known = {"release.pub": RELEASE, "builder.pub": BUILDER, "again.pub": RELEASE, "bad.pub": b"x"}
    if name not in known:
        raise SigningKeyError(name, "no such file", "a file that can be read")
    return known[name]


def policy(changes: Mapping[str, Any] = {}, without: str = "") -> TrustPolicy:  # never changed
    value = copy.deepcopy(dict(POLICY))
    for path, new in changes.items():
        place: Any = value
        *above, last = path.split(".")
        for name in above:
            place = place[name]
        place[last] = new
    if without:
        place = value
        *above, last = without.split(".")
        for name in above:
            place = place[name]
        del place[last]
    return load(tomlkit.dumps(value), "p.toml", read_key)


def test_the_example_is_a_policy_and_explains_every_key() -> None:
    found = load(EXAMPLE, "policy.toml", read_key)
    assert found.unchecked == ()
    assert found.identity == "registry.example/app"
    for line in EXAMPLE.splitlines():
        assert not line.strip() or "#" in line or line in ("[signature]", "[version]"), line


def test_what_it_says() -> None:
    found = policy()
    assert (found.threshold, found.exact, found.minimum, found.state) == (1, True, 3, "versions.json")
    assert [key.name for key in found.keys] == ["release.pub"]
    assert found.provenance is not UNCHECKED
    assert found.provenance.inputs is not UNCHECKED
    assert found.provenance.inputs.accepts("", "11" * 32)


FIELDS = ("sbom", "signature.identity", "signature.contents", "version.minimum", "version.state", "provenance",
          "provenance.build_types", "provenance.inputs")  # fmt: skip
NEVER_UNCHECKED = ("signature", "signature.keys", "signature.threshold", "version", "provenance.keys", "provenance.builders",
                   "provenance.inputs.digests", "provenance.inputs.sources")  # fmt: skip


@pytest.mark.parametrize("field", FIELDS + NEVER_UNCHECKED)
def test_every_field_is_required(field: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(without=field)
    (problem, *_) = caught.value.problems
    assert (problem.key, problem.found) == (field, "nothing")


@pytest.mark.parametrize("field", FIELDS)
def test_what_may_be_unchecked_shows(field: str) -> None:
    needed = {"signature.contents": {"sbom": "unchecked"}, "version.minimum": {"version.state": "unchecked"}}
    found = policy({field: "unchecked", **needed.get(field, {})})
    assert field in found.unchecked


@pytest.mark.parametrize("field", NEVER_UNCHECKED)
def test_what_may_not_be_unchecked(field: str) -> None:
    with pytest.raises(PolicyError):
        policy({field: "unchecked"})


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("sbom", "cyclone", "'cyclone'"),
        ("sbom", True, "True"),
        ("signature.keys", [], "[]"),
        ("signature.keys", ["none.pub"], "none.pub: no such file"),
        ("signature.keys", ["bad.pub"], "bad.pub: no PEM"),
        ("signature.keys", ["release.pub", "again.pub"], "one key twice"),
        ("signature.keys", ["release.pub"] * 65, "65 keys"),
        ("signature.keys", [7], "7"),
        ("signature.keys", "release.pub", "'release.pub'"),
        ("signature.threshold", 0, "0"),
        ("signature.threshold", 2, "2"),
        ("signature.threshold", True, "True"),
        ("signature.identity", "", "''"),
        ("signature.identity", "a\nb", "'a\\nb'"),
        ("signature.contents", "some", "'some'"),
        ("signature.more", 1, "an unknown key"),
        ("more", 1, "an unknown key"),
        ("version.minimum", -1, "-1"),
        ("version.minimum", 1 << 53, "9007199254740992"),
        ("version.minimum", "3", "'3'"),
        ("version.state", 7, "7"),
        ("provenance.keys", ["none.pub"], "none.pub: no such file"),
        ("provenance.builders", [], "[]"),
        ("provenance.builders", ["no uri"], "'no uri'"),
        ("provenance.builders", ["https://build.example/*"], "'https://build.example/*'"),
        ("provenance.build_types", ["x"], "'x'"),
        ("provenance.inputs.digests", ["11"], "2 digits"),
        ("provenance.inputs.digests", [{"digest": "11" * 32}], "{'digest': '111"),
        ("provenance.inputs.sources", ["*"], "'*'"),
        ("provenance.inputs.sources", ["https:*"], "'https:*'"),
        ("provenance.inputs.sources", ["https://*"], "'https://*'"),
        ("provenance.inputs.sources", ["https://deb.example*"], "'https://deb.example*'"),
        ("provenance.inputs.sources", ["https://deb.example:*"], "'https://deb.example:*'"),
        ("provenance.inputs.sources", ["https://user@*"], "'https://user@*'"),
        ("provenance.inputs.sources", ["https://*.example/x/*"], "'https://*.example/x/*'"),
        ("provenance.inputs.sources", ["https://deb.example/a*"], "'https://deb.example/a*'"),
        ("provenance.inputs.sources", ["https://deb.example/*/b"], "'https://deb.example/*/b'"),
        ("provenance.inputs", {"digests": [], "sources": []}, "no input"),
        ("provenance.inputs", {}, "{}"),
        ("provenance", {}, "{}"),
    ],
)  # fmt: skip
def test_values_that_are_none(field: str, value: object, found: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy({field: value})
    matching = [one for one in caught.value.problems if one.key == field]
    assert matching, caught.value
    assert matching[0].found.startswith(found)


def test_fields_that_contradict_each_other() -> None:
    with pytest.raises(PolicyError, match=r'sbom: found \'any\', want "unchecked", or contents = "signed"'):
        policy({"signature.contents": "unchecked"})
    with pytest.raises(PolicyError, match=r'version\.minimum: found "unchecked", want a number'):
        policy({"version.minimum": "unchecked"})


def test_everything_is_said_at_once_with_its_line() -> None:
    text = EXAMPLE.replace("threshold = 1 ", "threshold = 9 ").replace("minimum = 1 ", 'minimum = "x" ')
    with pytest.raises(PolicyError) as caught:
        load(text.replace("release.pub", "none.pub"), "p.toml", read_key)
    lines = text.splitlines()
    said = [(problem.key, lines[problem.line - 1].split()[0]) for problem in caught.value.problems]
    assert said == [("signature.keys", "keys"), ("version.minimum", "minimum")]


@pytest.mark.parametrize("text", ["a = ", "[a", "=", "a = 1\na = 2", "x" * 10])
def test_what_is_no_toml(text: str) -> None:
    with pytest.raises(PolicyError, match="TOML"):
        load(text, "p.toml", read_key)


@pytest.mark.parametrize(
    ("source", "uri", "accepted"),
    [
        ("https://deb.example/pool/*", "https://deb.example/pool/r/redis.deb", True),
        ("https://deb.example/*", "https://deb.example/", True),
        ("https://deb.example/x", "https://deb.example/x", True),
        ("urn:tee-shim:*", "urn:tee-shim:program:/usr/bin/redis", True),
        ("pkg:deb/debian/*", "pkg:deb/debian/redis@7?arch=amd64", True),
        ("file:///usr/*", "file:///usr/bin/redis", True),
        ("https://deb.example/x", "https://deb.example/x/", False),
        ("https://deb.example/x", "https://deb.example/X", False),
        ("https://deb.example/pool/*", "https://deb.example/pool/../evil", False),
        ("https://deb.example/pool/*", "https://deb.example/pool/a/%2e%2e/evil", False),
        ("https://deb.example/pool/*", "https://deb.example/pool/a%2F..%2fevil", False),
        ("https://deb.example/pool/*", "https://deb.example/pool/.", False),
        ("https://deb.example/pool/*", "https://deb.example/pool/..\\evil", False),
        ("https://deb.example/pool/*", "https://deb.example/pool", False),
        ("https://deb.example/*", "https://deb.example.evil/x", False),
        ("https://deb.example/*", "http://deb.example/x", False),
        ("https://deb.example/pool/*", "", False),
    ],
)
def test_sources(source: str, uri: str, accepted: bool) -> None:  # noqa: FBT001  # a row of the table
    assert policy({"provenance.inputs.sources": [source]})
    assert Inputs(frozenset(), (source,)).accepts(uri, "22" * 32) is accepted


def test_digests_count_whatever_they_are_called() -> None:
    inputs = Inputs(frozenset({bytes.fromhex("11" * 32)}), ())
    assert inputs.accepts("https://evil.example/", "11" * 32)
    assert not inputs.accepts("https://evil.example/", "12" * 32)
    assert not inputs.accepts("https://evil.example/", "")
    labelled = policy(
        {"provenance.inputs.digests": [{"digest": "sha256:" + "11" * 32, "label": "the launcher"}]}
    )
    assert labelled.provenance is not UNCHECKED


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(EXAMPLE)), st.text(max_size=8))
def test_any_text_is_a_policy_or_an_error(place: int, noise: str) -> None:
    try:
        load(EXAMPLE[:place] + noise + EXAMPLE[place + len(noise) :], "p.toml", read_key)
    except PolicyError as error:
        assert str(error).startswith("p.toml:")
