"""What records of vulnerabilities mean for an image: every way in which nothing is proved, and the few in which it is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies

from images.packages.package import Ecosystem, Inventory, OwnedFile, Package, SourcePackage
from images.sbom.errors import VulnerabilityRecordError
from images.sbom.osv import parse_records
from images.sbom.subject import Subject
from images.sbom.vex import Statement, Status, Vex, vex
from shim.profile.execute_path import ExecutePath, ObjectFunctions
from tests.fakes.roots import image_file

SUBJECT = Subject("made", "1", "ab" * 32, "", "Some One <one@some.example>", 1_700_000_000, "0.1.0")
LIBC = Package(
    Ecosystem.DEB, "libc6", "2.36-9+b1", "amd64", "debian", "12", source=SourcePackage("glibc", "2.36-9")
)
STATIC = Package(
    Ecosystem.DEB, "box", "1.0-1", "amd64", "debian", "12",
    source=SourcePackage("box", "1.0-1"), built_using=(SourcePackage("glibc", "2.36-9"),),
)  # fmt: skip
MODULE = Package(Ecosystem.GO, "golang.org/x/net", "0.5.0")
STDLIB = Package(Ecosystem.GO, "stdlib", "1.19.8")
CRATE = Package(Ecosystem.CARGO, "adler", "1.0.2")
CODE = b"\x7fELF library"


def record(**changes: object) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": "Debian:12", "name": "glibc"},
        "ranges": [ranges("0", "2.36-9+deb12u1")],
    }
    affected |= {name: value for name, value in changes.items() if name not in ("id", "withdrawn")}
    return {"id": changes.get("id", "CVE-1"), "affected": [affected]} | (
        {"withdrawn": changes["withdrawn"]} if "withdrawn" in changes else {}
    )


def ranges(introduced: str, fixed: str | None = None, kind: str = "ECOSYSTEM", **more: str) -> dict[str, Any]:
    events = [
        {"introduced": introduced},
        *([{"fixed": fixed}] if fixed else []),
        *[{name: at} for name, at in more.items()],
    ]
    return {"type": kind, "events": events}


def go_record(*symbols: str, path: str = "golang.org/x/net/html", **changes: object) -> dict[str, Any]:
    return record(
        package={"ecosystem": "Go", "name": "golang.org/x/net"},
        ranges=[ranges("0", "0.7.0", "SEMVER")],
        ecosystem_specific={"imports": [{"path": path, "symbols": list(symbols)}]},
        **changes,
    )


def holding(*packages: Package, owned: bool = True, data: bytes = CODE) -> Inventory:
    file = image_file("/usr/lib/x", data, "/usr/lib/x")
    distribution = tuple(one for one in packages if one.ecosystem in (Ecosystem.DEB, Ecosystem.APK))
    built_in = tuple(one for one in packages if one not in distribution)
    return Inventory(
        (OwnedFile(file, "0" * 40, distribution if owned else (), built_in),), packages, (), None
    )


def functions(inventory: Inventory, **changes: object) -> ExecutePath:
    one = ObjectFunctions(
        "/usr/lib/x", inventory.files[0].file.sha256, frozenset(["main", "safe", "risky"]),
        frozenset(["main", "safe"]), None, nameless=False, any_live=True,
    )  # fmt: skip
    return ExecutePath((replace(one, **changes),), (), ("some-assumption: that it is so",))


def said(value: object, inventory: Inventory, path: ExecutePath | None = None, **options: bool) -> Vex:
    return vex(parse_records(json.dumps(value).encode(), "records"), inventory, SUBJECT, path, **options)


def one(value: object, inventory: Inventory, path: ExecutePath | None = None, **options: bool) -> Statement:
    (statement,) = said(value, inventory, path, **options).statements
    return statement


def verdict(statement: Statement) -> tuple[Status, str]:
    return statement.status, statement.justification


NOT_IN_PATH = (Status.NOT_AFFECTED, "vulnerable_code_not_in_execute_path")
NOT_PRESENT = (Status.NOT_AFFECTED, "component_not_present")
UNKNOWN = (Status.UNDER_INVESTIGATION, "")
SYMBOLS = {"ecosystem_specific": {"symbols": ["risky"]}}


def test_an_affected_package_is_under_investigation() -> None:
    statement = one(record(), holding(LIBC))
    assert verdict(statement) == UNKNOWN
    assert (
        statement.component
        == "pkg:deb/debian/libc6@2.36-9%2Bb1?arch=amd64&distro=debian-12&upstream=glibc%402.36-9"
    )
    assert "affected from the first version on" in statement.explanation
    assert "does not name the functions" in statement.explanation


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ranges("0", "2.36-9"), (Status.FIXED, "")),
        (ranges("0", "2.36-8"), (Status.FIXED, "")),
        (ranges("0", "2.36-10"), UNKNOWN),
        (ranges("0", "2.36-9+deb12u1"), UNKNOWN),
        (ranges("2.36-10"), (Status.NOT_AFFECTED, "vulnerable_code_not_present")),
        (ranges("2.36-9"), UNKNOWN),
        (ranges("0", last_affected="2.36-9"), UNKNOWN),
        (ranges("0", last_affected="2.36-8"), (Status.FIXED, "")),
        (ranges("0", limit="2.36-9"), UNKNOWN),
        (ranges("0", "nonsense"), UNKNOWN),
        ({"type": "ECOSYSTEM", "events": [{"fixed": "1"}]}, UNKNOWN),
        ({"type": "ECOSYSTEM", "events": []}, UNKNOWN),
        (ranges("0", "2", "GIT"), UNKNOWN),
        (ranges("0", "deadbeef", "GIT"), UNKNOWN),
        ({"type": "ECOSYSTEM", "events": [{"fixed": "2.36-8"}, {"introduced": "2.36-8"}, {"introduced": "0"}]}, UNKNOWN),
    ],
)  # fmt: skip
def test_versions(line: dict[str, Any], expected: tuple[Status, str]) -> None:
    assert verdict(one(record(ranges=[line]), holding(LIBC))) == expected


def test_the_version_of_the_source_package_counts() -> None:
    """The binary's own version, 2.36-9+b1, is newer than the fix."""
    assert verdict(one(record(ranges=[ranges("0", "2.36-9+a")]), holding(LIBC))) == UNKNOWN


def test_versions_one_by_one() -> None:
    assert verdict(one(record(ranges=[], versions=["2.36-9"]), holding(LIBC))) == UNKNOWN
    other = one(record(ranges=[], versions=["2.36-8"]), holding(LIBC))
    assert verdict(other) == (Status.NOT_AFFECTED, "vulnerable_code_not_present")
    both = record(ranges=[ranges("0", "2.36-8")], versions=["2.36-9"])
    assert verdict(one(both, holding(LIBC))) == UNKNOWN
    unknown = record(ranges=[ranges("0", "x", "GIT")], versions=["2.36-8"])
    assert verdict(one(unknown, holding(LIBC))) == UNKNOWN


def test_code_that_was_built_in_counts() -> None:
    statement = one(record(), holding(STATIC))
    assert verdict(statement) == UNKNOWN
    assert "pkg:deb/debian/box@" in statement.component


@pytest.mark.parametrize("ecosystem", ["Debian", "Debian:12"])
def test_releases_that_are_ours(ecosystem: str) -> None:
    value = record(package={"ecosystem": ecosystem, "name": "glibc"}, ranges=[ranges("0", "2.36-8")])
    assert verdict(one(value, holding(LIBC))) == (Status.FIXED, "")


def test_another_release_says_nothing_of_ours() -> None:
    value = record(package={"ecosystem": "Debian:11", "name": "glibc"}, ranges=[ranges("0", "2.31-1")])
    statement = one(value, holding(LIBC))
    assert verdict(statement) == UNKNOWN
    assert "Debian:11" in statement.explanation


@pytest.mark.parametrize(
    "package", [{"ecosystem": "Debian:12", "name": "openssl"}, {"ecosystem": "Alpine:v3.18", "name": "glibc"}]
)
def test_what_is_not_there_is_said_not_to_be_there(package: dict[str, str]) -> None:
    statement = one(record(package=package), holding(LIBC))
    assert verdict(statement) == NOT_PRESENT
    assert statement.component == f"{package['ecosystem']}/{package['name']}"


def test_a_program_of_nobody_may_hold_anything() -> None:
    value = record(package={"ecosystem": "Debian:12", "name": "openssl"})
    assert verdict(one(value, holding(LIBC, owned=False))) == UNKNOWN
    assert verdict(one(value, holding(LIBC, owned=False, data=b"no code"))) == NOT_PRESENT


def test_a_go_program_without_modules_may_hold_any() -> None:
    value = go_record("Parse")
    assert verdict(one(value, holding(STDLIB))) == UNKNOWN
    other = Package(Ecosystem.GO, "example.com/other", "1.0.0")
    assert verdict(one(value, holding(STDLIB, other))) == NOT_PRESENT
    assert verdict(one(value, holding(LIBC))) == NOT_PRESENT


def test_what_replaces_a_module_may_be_the_same_code() -> None:
    fork = Package(Ecosystem.GO, "example.com/fork", "9.0.0", replaces="golang.org/x/net")
    statement = one(go_record("Parse"), holding(fork, STDLIB))
    assert verdict(statement) == UNKNOWN
    assert "has no version" in statement.explanation


def test_a_program_that_names_no_crates_may_hold_any() -> None:
    value = record(package={"ecosystem": "crates.io", "name": "adler"}, ranges=[ranges("0", kind="SEMVER")])
    assert verdict(one(value, holding(LIBC))) == UNKNOWN
    assert verdict(one(value, holding(replace(CRATE, name="other")))) == NOT_PRESENT
    assert verdict(one(value, holding(CRATE))) == UNKNOWN


def test_binary_packages_that_the_record_names() -> None:
    for binaries in ([{"binary_name": "libc-bin"}], [{"libc-bin": "2.36-9"}]):
        value = record(ecosystem_specific={"binaries": binaries})
        assert verdict(one(value, holding(LIBC))) == NOT_PRESENT
    value = record(ecosystem_specific={"binaries": [{"binary_name": "libc6"}]})
    assert verdict(one(value, holding(LIBC))) == UNKNOWN


def test_files_that_the_record_names() -> None:
    assert verdict(one(record(ecosystem_specific={"files": ["/usr/lib/y"]}), holding(LIBC))) == NOT_PRESENT
    assert verdict(one(record(ecosystem_specific={"files": ["/usr/lib/x", "/y"]}), holding(LIBC))) == UNKNOWN


def test_functions_that_cannot_run() -> None:
    inventory = holding(LIBC)
    statement = one(record(**SYMBOLS), inventory, functions(inventory), whole_functions=True)
    assert verdict(statement) == NOT_IN_PATH
    for word in ("risky", "/usr/lib/x", "some-assumption", "no code but that in its files", "copied none"):
        assert word in statement.explanation


def test_without_the_assumption_nothing_is_proved_of_c() -> None:
    inventory = holding(LIBC)
    statement = one(record(**SYMBOLS), inventory, functions(inventory))
    assert verdict(statement) == UNKNOWN
    assert "copied" in statement.explanation


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"live": frozenset(["main", "risky"])}, "can run"),
        ({"live": frozenset(["main", "risky.part.0"])}, "can run"),
        ({"live": frozenset(["main", "risky.constprop.0.isra.1"])}, "can run"),
        ({"names": frozenset(["main", "safe"])}, "no function is called"),
        ({"nameless": True}, "may not name every function"),
        ({"sha256": "cd" * 32}, "was not analysed"),
    ],
)
def test_what_stands_against_a_proof(changes: dict[str, Any], reason: str) -> None:
    inventory = holding(LIBC)
    statement = one(record(**SYMBOLS), inventory, functions(inventory, **changes), whole_functions=True)
    assert verdict(statement) == UNKNOWN
    assert reason in statement.explanation


def test_an_incomplete_analysis_proves_nothing() -> None:
    inventory = holding(LIBC)
    path = replace(functions(inventory), incomplete=("/x at 0x1: a jump", "/x at 0x2: a jump"))
    statement = one(record(**SYMBOLS), inventory, path, whole_functions=True)
    assert verdict(statement) == UNKNOWN
    assert "a jump and 1 more" in statement.explanation


def test_another_program_of_the_image_proves_nothing() -> None:
    inventory = holding(LIBC)
    other = OwnedFile(image_file("/bin/other", b"\x7fELF other", "/bin/other"), "0" * 40, (LIBC,))
    both = replace(inventory, files=(*inventory.files, other))
    statement = one(record(**SYMBOLS), both, functions(inventory), whole_functions=True)
    assert verdict(statement) == UNKNOWN
    assert "/bin/other may run too" in statement.explanation
    launcher = OwnedFile(image_file("/shim/launch", b"\x7fELF launcher"), "0" * 40)
    both = replace(inventory, files=(*inventory.files, launcher))
    assert verdict(one(record(**SYMBOLS), both, functions(inventory), whole_functions=True)) == NOT_IN_PATH


def test_a_package_without_code_proves_nothing() -> None:
    data_package = replace(LIBC, name="libc-data")
    inventory = holding(LIBC)
    file = OwnedFile(image_file("/usr/share/x", b"data", "/usr/share/x"), "0" * 40, (data_package,))
    both = replace(inventory, files=(*inventory.files, file), packages=(LIBC, data_package))
    statements = said(record(**SYMBOLS), both, functions(inventory), whole_functions=True).statements
    assert sorted(map(verdict, statements)) == sorted([NOT_IN_PATH, UNKNOWN])


def test_one_part_without_names_leaves_all_open() -> None:
    inventory = holding(LIBC)
    value = record(**SYMBOLS)
    value["affected"].append({**value["affected"][0], "ecosystem_specific": {}})
    assert verdict(one(value, inventory, functions(inventory), whole_functions=True)) == UNKNOWN


def go_path(inventory: Inventory, *names: str, copied: tuple[str, ...] = ()) -> ExecutePath:
    found = frozenset(["main.main", *names])
    return functions(inventory, names=found, live=found, copied=frozenset(copied))


def test_go_functions_that_are_not_in_the_program() -> None:
    inventory = holding(MODULE, STDLIB)
    path = go_path(inventory, "golang.org/x/net/html.Render", "golang.org/x/net/html.ParseFragment")
    statement = one(go_record("Parse", "Tokenizer.Next"), inventory, path)
    assert verdict(statement) == NOT_IN_PATH
    assert "copied none" not in statement.explanation  # Go says what it copied
    assert "at least one instruction" in statement.explanation


@pytest.mark.parametrize(
    "name",
    [
        "golang.org/x/net/html.Parse",
        "golang.org/x/net/html.Parse.func1",
        "golang.org/x/net/html.Parse[...]",
        "golang.org/x/net/html.(*Tokenizer).Next",
        "golang.org/x/net/html.(*Tokenizer).Next-fm",
        "golang.org/x/net/html.Tokenizer.Next.func2.1",
        "golang.org/x/net/html.(*Tokenizer[...]).Next",
        "vendor/golang.org/x/net/html.Parse",
        "example.com/program/vendor/golang.org/x/net/html.Parse",
        "main.Parse",
    ],
)
def test_go_functions_under_each_of_their_names(name: str) -> None:
    inventory = holding(MODULE, STDLIB)
    value = go_record("Parse", "Tokenizer.Next")
    assert verdict(one(value, inventory, go_path(inventory, name))) == UNKNOWN
    copied = one(value, inventory, go_path(inventory, copied=(name,)))
    assert verdict(copied) == UNKNOWN
    assert "may have been copied" in copied.explanation


@pytest.mark.parametrize("name", ["gopkg.in/yaml%2ev3.Parse", "gopkg.in/yaml.v3.Parse"])
def test_dots_of_import_paths(name: str) -> None:
    inventory = holding(MODULE, STDLIB)
    value = go_record("Parse", path="gopkg.in/yaml.v3")
    assert verdict(one(value, inventory, go_path(inventory, name))) == UNKNOWN
    assert verdict(one(value, inventory, go_path(inventory, "gopkg.in/yamlxv3.Parse"))) == NOT_IN_PATH


def test_a_go_package_without_symbols_means_all_of_it() -> None:
    inventory = holding(MODULE, STDLIB)
    value = go_record("Parse")
    value["affected"][0]["ecosystem_specific"]["imports"].append({"path": "golang.org/x/net/idna"})
    assert verdict(one(value, inventory, go_path(inventory))) == UNKNOWN


def test_records_are_never_dropped_in_silence() -> None:
    values = [
        record(id="A"),
        record(id="B", withdrawn="2024-01-01T00:00:00Z"),
        record(id="C", package={"ecosystem": "Debian:12", "name": "other"}),
        {"id": "D", "affected": []},
    ]
    found = said(values, holding(LIBC))
    assert [statement.vulnerability for statement in found.statements] == ["A", "C"]
    assert found.left_out == ("B: withdrawn at 2024-01-01T00:00:00Z", "D: names no package")


def test_the_document() -> None:
    value = {**record(), "aliases": ["GHSA-1", "DSA-1"]}
    found = said([value, record(id="CVE-2", package={"ecosystem": "Debian", "name": "other"})], holding(LIBC))
    document = json.loads(found.document)
    assert document["@context"] == "https://openvex.dev/ns/v0.2.0"
    assert document["@id"].startswith("https://openvex.dev/docs/public/vex-")
    assert (document["version"], document["timestamp"]) == (1, "2023-11-14T22:13:20Z")
    first, second = document["statements"]
    assert first["vulnerability"] == {"name": "CVE-1", "aliases": ["DSA-1", "GHSA-1"]}
    assert first["status"] == "under_investigation"
    assert "justification" not in first
    assert second["status"] == "not_affected"
    assert second["impact_statement"]
    (product,) = first["products"]
    assert product["hashes"] == {"sha-256": SUBJECT.sha256}
    assert product["subcomponents"][0]["identifiers"]["purl"].startswith("pkg:deb/debian/libc6@")


def test_the_same_bytes_in_every_order() -> None:
    values = [record(id="A"), record(id="B"), record(id="C")]
    assert said(values, holding(LIBC)).document == said(values[::-1], holding(LIBC)).document
    assert said(values, holding(LIBC)).document != said(values[1:], holding(LIBC)).document


@pytest.mark.parametrize("form", ["{}", "[{}]", '{{"vulns": [{}]}}', "{}\n{}"])
def test_forms_of_files(form: str) -> None:
    text = json.dumps(record())
    data = (form.format(text, text) if form != "{}" else text).encode()
    assert [one_record.identifier for one_record in parse_records(data, "records")] == ["CVE-1"]


@pytest.mark.parametrize(
    "value",
    [
        "nonsense",
        3,
        None,
        {},
        {"id": ""},
        {"id": 3},
        {"id": "x", "affected": {}},
        {"id": "x", "affected": [3]},
        {"id": "x", "affected": [{}]},
        {"id": "x", "affected": [{"package": {"ecosystem": "Go"}}]},
        {"id": "x", "affected": [{"package": {"ecosystem": "Go", "name": "y"}, "ranges": [3]}]},
        {"id": "x", "affected": [{"package": {"ecosystem": "Go", "name": "y"}, "ranges": [{"events": []}]}]},
        record(ranges=[{"type": "SEMVER", "events": [{"appeared": "1"}]}]),
        record(ranges=[{"type": "SEMVER", "events": [{"introduced": 1}]}]),
        record(versions=[1]),
        record(ecosystem_specific=[]),
        record(ecosystem_specific={"symbols": "risky"}),
        record(ecosystem_specific={"imports": [{"symbols": ["x"]}]}),
        record(ecosystem_specific={"affects": []}),
        record(ecosystem_specific={"binaries": [{"binary_name": 3}]}),
        [record(), record(versions=["1"])],
        record(withdrawn=3),
    ],
)
def test_records_that_are_none(value: object) -> None:
    with pytest.raises(VulnerabilityRecordError):
        parse_records(json.dumps(value).encode(), "records")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"id": "x"}\n{', b"[" * 100_000])
def test_files_that_are_none(data: bytes) -> None:
    with pytest.raises(VulnerabilityRecordError):
        parse_records(data, "records")


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=5),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.sampled_from(
                ["id", "affected", "package", "ecosystem", "name", "ranges", "events", "versions"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        parse_records(json.dumps(value).encode(), "records")
    except VulnerabilityRecordError:
        return
