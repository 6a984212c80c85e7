"""Reference values go in and out in both forms, and what a manifest says besides never makes them laxer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import cbor2
import pytest
from cbor2 import CBORTag
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, strategies as st
from pycddl import Schema

from attestation import reference_values
from attestation.appraise import appraise
from attestation.corim import manifest, signed, terms, writing
from attestation.errors import AppraisalError, AttestationError, PolicyError
from attestation.kinds import KINDS
from attestation.policy import load, named_files
from attestation.reference_files import load_policy, parse_reference_values
from attestation.reference_values import ALGORITHMS, Entry, Manifest, ReferenceValueError
from attestation.verdict import Verdict
from shim.cli import reference_values as command_module, verify
from shim.errors import ShimError
from tests import real, vectors
from tests.fakes.policies import changed, toml
from tests.vectors import Case

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
DIGEST = bytes(range(48))
ONE = Entry("snp", "measurement", "sha-384", DIGEST, "June", {"vmm": "QEMU 9.1", "vcpus": 4})
# What we write, in a language and a checker that are not ours; the names are those of the draft.
CDDL = """
corim = #6.501({0: text, 1: [+ #6.506(bytes .cbor comid)]})
comid = {1: {0: text}, 4: {0: [+ triple]}}
triple = [{0: class}, [+ {0: text, 1: {2: [+ [int, bytes]], 11: text}}]]
class = {? 0: #6.560(bytes), 1: text, 2: text}
"""


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private(key: Any, password: bytes | None = None) -> bytes:  # noqa: ANN401  # of any kind
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    data: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return data


# --- both forms

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
ENTRIES = st.sampled_from(sorted(ALGORITHMS)).flatmap(
    lambda algorithm: st.builds(
        Entry,
        st.sampled_from(sorted(KINDS)),
        st.from_regex(r"[a-z0-9][a-z0-9_.:-]{0,19}", fullmatch=True),
        st.just(algorithm),
        st.binary(min_size=ALGORITHMS[algorithm], max_size=ALGORITHMS[algorithm]),
        st.text(min_size=1, max_size=40),
        st.dictionaries(NAMES, st.text(max_size=20) | st.integers(0, 2**53 - 1), max_size=3),
    )
)
SETS = st.lists(ENTRIES, min_size=1, max_size=5, unique_by=repr).map(tuple)


@given(SETS)
def test_both_forms_hold_the_same(entries: tuple[Entry, ...]) -> None:
    plain = reference_values.write(entries)
    assert reference_values.parse(plain, "it").entries == entries
    rim = writing.write(entries, "it")
    Schema(CDDL).validate_cbor(rim)
    found = manifest.parse(rim, "it")
    assert (found.entries, found.left_out, found.profile) == (entries, (), None)
    assert writing.write(found.entries, "it") == rim


def test_the_checker_that_is_not_ours_refuses_something_else() -> None:
    with pytest.raises(Exception, match="error validating"):
        Schema(CDDL).validate_cbor(cbor2.dumps(CBORTag(501, {0: 1, 1: []})))


@given(st.binary(max_size=200))
def test_any_bytes_are_values_or_our_error(data: bytes) -> None:
    for key in (None, public(KEY)):
        with pytest.raises(ReferenceValueError):
            parse_reference_values(data, "it", key)


RIM = writing.write((ONE,), "it")
SIGNED = signed.sign(RIM, "the builder", KEY)


@given(st.integers(0, len(RIM) - 1), st.integers(1, 255))
def test_changed_bytes_are_values_or_our_error(place: int, change: int) -> None:
    damaged = bytearray(RIM)
    damaged[place] ^= change
    try:
        manifest.parse(bytes(damaged), "it")
    except AttestationError as error:
        assert isinstance(error, ReferenceValueError)
        assert error.exit_code == 2


def test_no_prefix_is_a_manifest() -> None:
    for size in range(len(RIM)):
        with pytest.raises(ReferenceValueError):
            manifest.parse(RIM[:size], "it")


GOOD = json.loads(reference_values.write((ONE,)))


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"tee": "sev"}, "tee"),
        ({"register": "Measurement"}, "register"),
        ({"register": 1}, "register"),
        ({"algorithm": "sha-1"}, "algorithm"),
        ({"algorithm": "sha-256"}, "digest"),
        ({"digest": "00"}, "digest"),
        ({"digest": "zz" * 48}, "digest"),
        ({"label": ""}, "label"),
        ({"label": None}, "label"),
        ({"environment": []}, "environment"),
        ({"environment": {"VMM": "x"}}, "environment"),
        ({"environment": {"vmm": 1.5}}, "environment"),
        ({"environment": {"vmm": True}}, "environment"),
        ({"environment": {"vmm": -1}}, "environment"),
        ({"comment": "x"}, "comment"),
    ],
)
def test_a_wrong_member_of_the_plain_form(change: dict[str, object], member: str) -> None:
    whole = {**GOOD, "values": [{**GOOD["values"][0], **change}]}
    with pytest.raises(ReferenceValueError) as caught:
        reference_values.parse(json.dumps(whole).encode(), "it")
    assert member in caught.value.where


@pytest.mark.parametrize(
    "whole",
    [
        {},
        {"schema": "reference-values/1"},
        {**GOOD, "schema": "reference-values/2"},
        {**GOOD, "more": 1},
        {**GOOD, "values": GOOD["values"] * 2},
        {**GOOD, "values": [1]},
    ],
)
def test_another_plain_form(whole: object) -> None:
    with pytest.raises(ReferenceValueError):
        reference_values.parse(json.dumps(whole).encode(), "it")


def test_too_many_values() -> None:
    many = tuple(Entry("snp", f"r{number}", "sha-256", bytes(32), "x") for number in range(4097))
    with pytest.raises(ReferenceValueError, match="4097 values"):
        reference_values.parse(reference_values.write(many), "it")


def test_what_cannot_be_written() -> None:
    with pytest.raises(ReferenceValueError, match="no values"):
        writing.write((), "it")
    with pytest.raises(ReferenceValueError, match="unknown kind"):
        writing.write((Entry("unknown", "x", "sha-256", bytes(32), "x"),), "it")


def test_every_kind_has_its_class() -> None:
    assert set(terms.CLASSES) == set(KINDS)
    assert len(set(terms.CLASSES.values())) == len(KINDS)


# --- manifests as others write them


def rim(triples: object, *, members: dict[int, object] | None = None, module: Any = None) -> bytes:  # noqa: ANN401
    inner = cbor2.dumps({1: {0: UUID(int=1)}, 2: [{0: "Somebody", 2: [0]}], 4: triples})
    parts = {0: b"\1" * 16, 1: [module or CBORTag(506, inner)], **(members or {})}
    return cbor2.dumps(CBORTag(501, parts))


def triple(values: object, environment: object = None, key: object = None) -> list[object]:
    measured = {1: values} if key is None else {0: key, 1: values}
    return [environment or {0: {1: "intel.com", 2: "Agilex", 3: 0, 4: 0}}, [measured]]


SHA384 = [[7, DIGEST]]


def test_layers_of_firmware_as_intel_describes_them() -> None:
    """Security version and digest per layer, a version that is only endorsed, a profile, other manifests."""
    layers = [triple({1: CBORTag(552, 0), 2: [[7, bytes([layer]) * 48]]}, {0: {1: "intel.com", 2: "Agilex", 3: layer, 4: 0}}) for layer in (0, 1)]  # fmt: skip
    endorsed = [[{0: {0: CBORTag(111, b"\x60\x86\x48"), 1: "intel.com"}}, [{1: {0: {0: "2023", 1: 3}}}]]]
    found = manifest.parse(
        rim({0: layers, 1: endorsed}, members={2: [{0: CBORTag(32, "https://a.example/c")}], 3: [CBORTag(111, b"\x60\x86")]}), "it"
    )  # fmt: skip
    assert [entry.environment["layer"] for entry in found.entries] == [0, 1]
    assert [(entry.tee, entry.environment["svn"]) for entry in found.entries] == [("unknown", 0)] * 2
    assert found.left_out == ("manifests that it depends on", "it.tags[0]: endorsed values")
    assert found.profile == "oid:6086"


@pytest.mark.parametrize(
    ("values", "key", "register"),
    [
        ({2: SHA384}, None, "measurement"),
        ({2: SHA384}, 4, "4"),
        ({2: SHA384}, "RTMR1", "rtmr1"),
        ({2: SHA384}, UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        ({2: SHA384}, CBORTag(111, b"\x60"), "oid:60"),
        ({2: SHA384}, "a name, with\nmore", "a_name__with_more"),
        ({2: SHA384}, -5, "x-5"),
        ({2: SHA384}, "!measurement", "x_measurement"),
        ({2: SHA384}, "", "x"),
        ({14: {"pcr4": SHA384}}, None, "pcr4"),
        ({14: {4: SHA384}}, "tpm", "4"),
        ({2: [["sha-384", DIGEST]]}, None, "measurement"),
    ],
)
def test_how_registers_are_named(values: object, key: object, register: str) -> None:
    [entry] = manifest.parse(rim({0: [triple(values, key=key)]}), "it").entries
    assert (entry.register, entry.algorithm, entry.digest) == (register, "sha-384", DIGEST)
    again = reference_values.parse(reference_values.write((entry,)), "it")
    assert again.entries == (entry,)


@pytest.mark.parametrize(
    ("layer", "shown"),
    [(0, 0), (2**53 - 1, 2**53 - 1), (2**53, "9007199254740992"), (-1, "-1"), (True, "True")],
)
def test_layers_that_json_cannot_count(layer: object, shown: object) -> None:
    [entry] = manifest.parse(rim({0: [triple({2: SHA384}, {0: {1: "x", 3: layer}})]}), "it").entries
    assert entry.environment == {"vendor": "x", "layer": shown}
    assert reference_values.parse(reference_values.write((entry,)), "it").entries == (entry,)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (triple({2: [[6, b"\1\2\3\4"]]}), "a digest of algorithm 6"),
        (triple({0: {0: "1.2"}}), "no digest"),
        (triple({1: 3}), "no digest"),
        (triple({2: SHA384, 3: {3: False}}), "more than a digest: values 3"),
        (triple({2: SHA384, 4: CBORTag(560, b"x")}), "more than a digest: values 4"),
        (triple({2: SHA384, -1: 1}), "more than a digest: values -1"),
        (triple({2: SHA384}, {1: CBORTag(550, bytes(33))}), "about a single instance or a group"),
        (triple({2: SHA384}, {0: {1: "x"}, 2: CBORTag(37, bytes(16))}), "about a single instance or a group"),
        (triple({2: SHA384}, {0: {1: "AMD", 2: "SEV-SNP", 3: 1}}), "about one layer"),
        (triple({2: SHA384}, {0: {1: "NVIDIA", 2: "device", 4: 0}}), "about one layer, or one of several"),
        ([{0: {1: "x"}}, [{1: {2: SHA384}, 2: [CBORTag(557, [7, DIGEST])]}]], "only with the authority of a key"),
    ],
)  # fmt: skip
def test_what_is_left_out_and_why(record: list[object], reason: str) -> None:
    found = manifest.parse(rim({0: [record]}), "it")
    assert found.entries == ()
    assert len(found.left_out) == 1
    assert reason in found.left_out[0]


@pytest.mark.parametrize(
    "data",
    [
        rim({0: [triple({2: [[7, bytes(32)]]})]}),
        rim({0: [triple({2: [[7, "text"]]})]}),
        rim({0: [triple({2: [[7]]})]}),
        rim({0: [triple({2: []})]}),
        rim({0: [triple({2: SHA384, 11: ""})]}),
        rim({0: [triple({2: SHA384, 0: {0: 1}})]}),
        rim({0: [triple({2: SHA384, 1: "2"})]}),
        rim({0: [triple({2: SHA384, 1: -1})]}),
        rim({0: [triple({2: SHA384, 1: True})]}),
        rim({0: [triple({2: SHA384, 1: 1 << 53})]}),
        rim({0: [triple({2: SHA384}, {0: {9: 1}})]}),
        rim({0: [triple({2: SHA384}, {0: {}})]}),
        rim({0: [[{0: {1: "x"}}]]}),
        rim({0: []}),
        rim({}),
        rim(1),
        rim({0: [triple({2: SHA384})]}, members={6: 1}),
        rim({0: [triple({2: SHA384})]}, members={0: 1}),
        rim({0: [triple({2: SHA384})]}, members={4: {0: 1}}),
        rim({0: [triple({2: SHA384})]}, members={1: []}),
        rim({0: [triple({2: SHA384})]}, module=CBORTag(506, {})),
        rim({0: [triple({2: SHA384})]}, module=b"x"),
        rim({0: [triple({2: SHA384}, {0: {0: CBORTag(560, b'{"VMM":1}'), 1: "AMD", 2: "SEV-SNP"}})]}),
        cbor2.dumps(CBORTag(500, 1)),
        cbor2.dumps({0: 1}),
        b"\xd9\x01\xf5\xbf\xff",  # indefinite length
        b"\xd9\x01\xf5\xa2\x00\x61a\x00\x61b",  # the same name twice
        b"\xd9\x01\xf5\xa1\x18\x00\x61a",  # a number longer than it needs to be
        b"\xd9\x01\xf5\xa1\x00\xd8\x23\x61a",  # a regular expression
        b"\xd9\x01\xf5" + b"\x81" * 40 + b"\x00",
        RIM + b"\0",
    ],
)
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(ReferenceValueError):
        manifest.parse(data, "it")


LEAVES = st.sampled_from([0, 1, 2, 7, 14, -1, 2**63, 1e300, float("nan"), True, None, "x", "", b"", bytes(16), bytes(48), "x" * 300])  # fmt: skip
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([0, 1, 2, 3, 11, 14, "a"]), inner, max_size=3)
        | st.builds(CBORTag, st.sampled_from(sorted(terms.TAGS)), inner)
    ),
    max_leaves=8,
)


@given(ANYTHING, ANYTHING, st.dictionaries(st.integers(0, 14), ANYTHING, max_size=2), ANYTHING)
def test_whatever_stands_in_a_manifest_is_a_value_or_our_error(
    described: object, key: object, values: dict[int, object], more: object
) -> None:
    record = [{0: {1: "AMD", 2: "SEV-SNP", 0: described}}, [{0: key, 1: {2: SHA384, **values}}]]
    data = rim({0: [record, more] if values else [record]}, members={4: more} if len(values) > 1 else {})
    try:
        found = parse_reference_values(data, "it", None)
    except ReferenceValueError:
        return
    assert reference_values.parse(reference_values.write(found.entries), "it").entries == found.entries


def test_other_tags_are_left_out() -> None:
    for tag, name in ((505, "a CoSWID tag"), (508, "a list of tags")):
        found = manifest.parse(rim({}, module=CBORTag(tag, b"\xa0")), "it")
        assert found.left_out == (f"it.tags[0]: {name}",)


@pytest.mark.parametrize("case", vectors.cases("corim"))
def test_real_manifests(case: Case) -> None:
    found = manifest.parse(case.read("corim"), case.id)
    assert f"{len(found.entries)} values" in case.expected
    assert ("profile" in case.expected) == (found.profile is not None)
    for place in range(len(case.read("corim"))):
        with pytest.raises(ReferenceValueError):
            manifest.parse(case.read("corim")[:place], case.id)


# --- signatures


def test_a_signature_is_that_of_rfc_9052() -> None:
    """Put together and checked here once more, without anything of ours."""
    protected, unprotected, payload, signature = cbor2.loads(SIGNED).value
    headers = cbor2.loads(protected)
    assert (headers[1], headers[3], len(headers[4]), dict(unprotected)) == (
        -7,
        "application/rim+cbor",
        32,
        {},
    )
    data = cbor2.dumps(["Signature1", protected, b"", payload])
    der = encode_dss_signature(*(int.from_bytes(part, "big") for part in (signature[:32], signature[32:])))
    KEY.public_key().verify(der, data, ec.ECDSA(hashes.SHA256()))
    assert payload == RIM


@pytest.mark.parametrize("key", [KEY, OTHER, ec.generate_private_key(ec.SECP521R1())])
def test_who_signed_is_checked(key: ec.EllipticCurvePrivateKey) -> None:
    data = signed.sign(RIM, "the builder", key)
    found = parse_reference_values(data, "it", public(key))
    assert (found.entries, found.signer, found.verified) == ((ONE,), "the builder", True)
    assert not parse_reference_values(data, "it", None).verified


@pytest.mark.parametrize("key", [public(OTHER), public(ec.generate_private_key(ec.SECP256R1())), b"no key", ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)])  # fmt: skip
def test_another_key_is_refused(key: bytes) -> None:
    with pytest.raises(ReferenceValueError):
        parse_reference_values(SIGNED, "it", key)


def test_no_changed_bit_of_a_signed_manifest_is_accepted() -> None:
    for place in range(len(SIGNED)):
        damaged = bytearray(SIGNED)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ReferenceValueError):
            parse_reference_values(bytes(damaged), "it", public(KEY))


def test_a_key_for_what_nobody_signed() -> None:
    for data in (RIM, reference_values.write((ONE,))):
        with pytest.raises(ReferenceValueError, match="nobody's signature"):
            parse_reference_values(data, "it", public(KEY))


def with_headers(headers: dict[int, object]) -> bytes:
    from attestation import cose  # noqa: PLC0415

    return cose.sign(RIM, headers, KEY)


META = cbor2.dumps({0: {0: "the builder"}})


@pytest.mark.parametrize(
    "headers",
    [
        {3: "application/rim+cbor"},
        {3: "application/cose", 8: META},
        {8: META},
        {3: "application/rim+cbor", 8: META, 2: [99]},
        {3: "application/rim+cbor", 8: "text"},
        {3: "application/rim+cbor", 8: cbor2.dumps({0: {0: 1}})},
        {3: "application/rim+cbor", 8: cbor2.dumps({1: {1: 1}})},
        {3: "application/rim+cbor", 8: cbor2.dumps({0: {0: "x"}, 1: {0: 5}})},
        {3: "application/rim+cbor", 15: {4: 1}},
        {3: "application/rim+cbor", 15: {1: "x", 4: "soon"}},
        {3: "application/rim+cbor", 15: {1: "x", 4: 1 << 60}},
    ],
)
def test_protected_headers_that_are_not_known(headers: dict[int, object]) -> None:
    with pytest.raises(ReferenceValueError):
        parse_reference_values(with_headers(headers), "it", public(KEY))


def test_the_shortest_validity_counts() -> None:
    def at(year: int) -> CBORTag:
        return CBORTag(1, int(datetime(year, 1, 1, tzinfo=UTC).timestamp()))

    meta = cbor2.dumps({0: {0: "x"}, 1: {0: at(2021), 1: at(2030)}})
    claims = {1: "y", 5: at(2022).value, 4: at(2029).value}
    data = with_headers({3: "application/rim+cbor", 8: meta, 15: claims})
    found = parse_reference_values(data, "it", public(KEY))
    assert found.signer == "x"
    assert (found.not_before, found.not_after) == (datetime(2022, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC))  # fmt: skip
    inner = manifest.parse(rim({0: [triple({2: SHA384})]}, members={4: {1: at(2028)}}), "it")
    assert (inner.not_before, inner.not_after) == (None, datetime(2028, 1, 1, tzinfo=UTC))


# --- policies that name a file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    measured = bytes.fromhex(real.SIMULATION.claims()["report"]["measurement"])
    fits = Entry("simulated", "measurement", "sha-384", measured, "from a file", {"vcpus": 4})
    others = (ONE, Entry("simulated", "measurement", "sha-384", DIGEST, "another", {"vcpus": 8}))
    (tmp_path / "values.json").write_bytes(reference_values.write((fits, *others)))
    (tmp_path / "values.corim").write_bytes(signed.sign(writing.write((fits, *others), "it"), "x", KEY))
    (tmp_path / "key.pem").write_bytes(public(KEY))
    (tmp_path / "other.pem").write_bytes(public(OTHER))
    return tmp_path


def write_policy(folder: Path, measurement: object) -> Path:
    path = folder / "policy.toml"
    path.write_text(toml(real.SIMULATION.accepting(report__measurement=measurement)))
    return path


NAMED = [
    {"file": "values.json"},
    {"file": "values.json", "select": {"vcpus": 4}},
    {"file": "values.corim", "key": "key.pem"},
    {"file": "values.corim", "key": "key.pem", "select": {"vcpus": 4}},
]


@pytest.mark.parametrize("measurement", NAMED)
def test_a_policy_takes_measurements_from_a_file(folder: Path, measurement: dict[str, object]) -> None:
    policy = load_policy(write_policy(folder, measurement))
    case = real.SIMULATION
    result = appraise(case.evidence, case.endorsements, policy, binding=None, now=case.now)
    assert result.claims is not None
    assert result.claims["reference"] == "from a file"
    name = str(measurement["file"])
    assert result.reference_values == {name: sha256((folder / name).read_bytes()).hexdigest()}
    assert name.encode() in result.to_json()


@pytest.mark.parametrize(
    ("measurement", "found"),
    [
        ({"file": "values.json", "select": {"vcpus": 5}}, "no value of simulated for measurement"),
        ({"file": "values.json", "select": {"vcpu": 4}}, "no value of simulated for measurement"),
        ({"file": "values.corim"}, "a signed manifest"),
        ({"file": "values.json", "more": 1}, "a name with other keys"),
        ({"file": 1}, "a name with other keys"),
        ({"file": "values.json", "key": 1}, "a name with other keys"),
        ({"file": "values.json", "select": 1}, "a name with other keys"),
    ],
)
def test_a_name_that_gives_nothing(folder: Path, measurement: dict[str, object], found: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(write_policy(folder, measurement))
    assert [(problem.key, problem.found[: len(found)]) for problem in caught.value.problems] == [
        ("report.measurement", found)
    ]


@pytest.mark.parametrize(
    "measurement",
    [
        {"file": "no such"},
        {"file": "values.corim", "key": "other.pem"},
        {"file": "values.corim", "key": "no such"},
        {"file": "values.json", "key": "key.pem"},
        {"file": "key.pem"},
        {"file": "."},
    ],
)
def test_a_file_that_cannot_be_used(folder: Path, measurement: dict[str, object]) -> None:
    with pytest.raises(ReferenceValueError):
        load_policy(write_policy(folder, measurement))


@pytest.mark.parametrize("key", ['"a.b"', '"a.b.c"', "file", "tee"])
def test_a_name_in_a_place_that_is_none(folder: Path, key: str) -> None:
    text = toml(real.SIMULATION.accepting())
    if key == "tee":
        text = text.replace('tee = "simulated"\n', "")
    path = folder / "policy.toml"
    path.write_text(f'{key} = {{ file = "values.json" }}\n{text}')
    with pytest.raises(PolicyError):
        load_policy(path)


def test_values_of_another_kind_are_none(folder: Path) -> None:
    (folder / "values.json").write_bytes(reference_values.write((ONE,)))
    with pytest.raises(PolicyError, match="no value of simulated for measurement"):
        load_policy(write_policy(folder, {"file": "values.json"}))


def test_selected_values_are_the_only_ones(folder: Path) -> None:
    policy = load_policy(write_policy(folder, {"file": "values.json", "select": {"vcpus": 8}}))
    case = real.SIMULATION
    with pytest.raises(AppraisalError) as caught:
        appraise(case.evidence, case.endorsements, policy, binding=None, now=case.now)
    assert [one.field for one in caught.value.mismatches] == ["report.measurement"]


def test_a_file_that_nobody_handed_over_is_a_problem() -> None:
    text = toml(real.SIMULATION.accepting(report__measurement={"file": "values.json"}))
    [name] = named_files(text, "it")
    assert (name.file, name.key) == ("values.json", None)
    with pytest.raises(PolicyError, match="was not supplied"):
        load(text, "it")


def test_a_manifest_with_rules_of_its_own_is_for_no_policy(folder: Path) -> None:
    (folder / "values.corim").write_bytes(
        rim({0: [triple({2: SHA384}, {0: {1: "tee-shim", 2: "SIMULATED"}}, "measurement")]}, members={3: CBORTag(32, "https://a.example/b")})
    )  # fmt: skip
    with pytest.raises(PolicyError, match="a manifest of profile"):
        load_policy(write_policy(folder, {"file": "values.corim"}))


@pytest.mark.parametrize("year", [2029, 2033])
def test_reference_values_that_do_not_count_now(folder: Path, year: int) -> None:
    case = real.SIMULATION
    period = {0: CBORTag(1, int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())), 1: CBORTag(1, int(datetime(2032, 1, 1, tzinfo=UTC).timestamp()))}  # fmt: skip
    measured = bytes.fromhex(case.claims()["report"]["measurement"])
    record = triple({2: [[7, measured]]}, {0: {1: "tee-shim", 2: "SIMULATED"}}, "measurement")
    (folder / "values.corim").write_bytes(rim({0: [record]}, members={4: period}))
    policy = load_policy(write_policy(folder, {"file": "values.corim"}))
    assert appraise(case.evidence, case.endorsements, policy, binding=None, now=case.now).claims
    with pytest.raises(AppraisalError) as caught:
        appraise(case.evidence, case.endorsements, policy, binding=None, now=case.now.replace(year=year))
    assert caught.value.result.verdict is Verdict.EXPIRED
    assert caught.value.mismatches[0].field == "reference values values.corim"


@pytest.mark.parametrize(
    "case", [one for one in real.one_of_each() if one.id in {"tdx", "azure-snp", "nvidia", "cca", "nitro"}]
)  # type: ignore[attr-defined]
def test_registers_of_every_kind_can_come_from_a_file(case: real.Real, tmp_path: Path) -> None:
    rules: Any = case.accepting()
    entries = []
    for table, values in rules.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, list) and key != "cpak" and key != "vmpl":  # noqa: PLR1714
                raw = bytes.fromhex(value[0]["digest"] if isinstance(value[0], dict) else value[0])
                algorithm = next(name for name, size in ALGORITHMS.items() if size == len(raw))
                entries.append(Entry(case.tee, key, algorithm, raw, f"{table}.{key}"))
                rules = changed(f"{table}.{key}", {"file": "values.corim"}, rules)
    (tmp_path / "values.corim").write_bytes(writing.write(tuple(entries), "it"))
    (tmp_path / "policy.toml").write_text(toml(rules))
    policy = load_policy(tmp_path / "policy.toml")
    assert appraise(case.evidence, case.endorsements, policy, binding=None, now=case.now).reference_values
    assert policy.max_clock_skew >= timedelta(0)
    assert len(entries) >= 1


def test_verify_shows_the_files_that_it_goes_by(folder: Path) -> None:
    [evidence, *_] = real.SIMULATION.files(folder)
    policy = write_policy(folder, {"file": "values.json"})
    arguments = [evidence, "--policy", str(policy), "--at", real.SIMULATION.now.isoformat()]
    done = CliRunner().invoke(verify.command, arguments)
    assert done.exit_code == 0
    assert (
        f"sha256 of values.json  {sha256((folder / 'values.json').read_bytes()).hexdigest()}" in done.stdout
    )


# --- the command


def run(*arguments: object) -> tuple[int, bytes, str]:
    done = CliRunner().invoke(command_module.command, [str(argument) for argument in arguments])
    if isinstance(done.exception, ShimError):
        return getattr(done.exception, "exit_code", 1), done.stdout_bytes, str(done.exception)
    return done.exit_code, done.stdout_bytes, done.stderr


def test_the_command_shows_and_converts(folder: Path) -> None:
    code, output, said = run(folder / "values.json")
    assert (code, said) == (0, "")
    assert b"from a file" in output
    assert b"vcpus 4" in output
    code, output, said = run(folder / "values.corim")
    assert (code, b"from a file" in output) == (0, True)
    assert "signed by 'x', as it says: the signature was not checked (--key)" in said
    there, back = folder / "there.corim", folder / "back.json"
    (folder / "private.pem").write_bytes(private(KEY))
    signing = ("--sign-key", folder / "private.pem", "--signer", "x")
    assert run(folder / "values.json", "--format", "corim", "-o", there, *signing)[0] == 0
    assert run(there, "--format", "json", "-o", back, "--key", folder / "key.pem")[0] == 0
    assert back.read_bytes() == (folder / "values.json").read_bytes() + b"\n"
    assert run(there, "--key", folder / "other.pem")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("no such file",),
        ("values.json", "-o", "x"),
        ("values.json", "--format", "corim", "--signer", "x"),
        ("values.json", "--format", "corim", "--sign-key", "private.pem"),
        ("values.json", "--sign-key", "private.pem", "--signer", "x"),
        ("values.json", "--format", "corim", "--sign-key", "key.pem", "--signer", "x"),
        ("values.json", "--format", "corim", "--sign-key", "locked.pem", "--signer", "x"),
        ("values.json", "--format", "corim", "--sign-key", "edwards.pem", "--signer", "x"),
        ("values.json", "copy.json", "--format", "json"),
        ("values.corim", "--format", "json"),
        ("key.pem",),
    ],
)
def test_wrong_usage(folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.chdir(folder)
    (folder / "copy.json").write_bytes((folder / "values.json").read_bytes())
    (folder / "private.pem").write_bytes(private(KEY))
    (folder / "locked.pem").write_bytes(private(KEY, b"secret"))
    (folder / "edwards.pem").write_bytes(private(ed25519.Ed25519PrivateKey.generate()))
    code, output, said = run(*arguments)
    assert (code, output) == (2, b"")
    assert said


def test_rules_that_a_conversion_would_lose(folder: Path) -> None:
    data = rim({0: [triple({2: SHA384})]}, members={3: CBORTag(32, "https://a.example/b")})
    (folder / "it.corim").write_bytes(data)
    code, output, said = run(folder / "it.corim")
    assert (code, "rules of its own" in said, b"Agilex" in output) == (0, True, True)
    assert run(folder / "it.corim", "--format", "json")[0] == 2
    assert isinstance(manifest.parse(data, "it"), Manifest)
