"""Real logs lead to the registers that were signed; made ones are refused where they are none or explain nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping

import pytest

from attestation import kinds
from attestation.appraise import of_event_log
from attestation.errors import EvidenceFormatError, NotAuthenticError
from attestation.eventlog import MOST_EVENTS
from attestation.eventlog.claims import of_log
from attestation.eventlog.log import Event, parse
from attestation.eventlog.replay import Registers, check, replay, unexplained
from attestation.intel import evidence
from attestation.intel.report import TdReport
from tests import vectors
from tests.vectors import Case

SIZES = {4: 20, 11: 32, 12: 48}
NAMES = {4: "sha1", 11: "sha256", 12: "sha384"}
ZERO = bytes(48)


def header(sizes: Mapping[int, int] = SIZES, text: bytes = b"Spec ID Event03\0") -> bytes:
    body = text + bytes(8) + struct.pack("<I", len(sizes))
    body += b"".join(struct.pack("<HH", *pair) for pair in sizes.items()) + b"\0"
    return struct.pack("<II20sI", 0, 3, bytes(20), len(body)) + body


def event(register: int, data: bytes, *, kind: int = 4, algorithms: tuple[int, ...] = tuple(SIZES)) -> bytes:
    digests = b"".join(struct.pack("<H", one) + hashlib.new(NAMES[one], data).digest() for one in algorithms)
    return (
        struct.pack("<III", register, kind, len(algorithms)) + digests + struct.pack("<I", len(data)) + data
    )


def legacy(register: int, data: bytes, kind: int = 4) -> bytes:
    return struct.pack("<II20sI", register, kind, hashlib.sha1(data).digest(), len(data)) + data  # noqa: S324


def extended(*data: bytes, start: bytes = ZERO, algorithm: str = "sha384") -> bytes:
    for one in data:
        start = hashlib.new(algorithm, start + hashlib.new(algorithm, one).digest()).digest()
    return start


def rtmrs(case: Case) -> Registers:
    report = evidence.parse(case.read("quote")).report
    assert isinstance(report, TdReport)
    names = {number: f"rtmr{number - 1}" for number in range(1, 5)}
    return Registers("sha384", dict(enumerate(report.rtmrs, 1)), names, frozenset({1, 2, 3}), dynamic=False)


@pytest.mark.parametrize("case", vectors.cases("ccel", role="quote"))
def test_real_logs_of_trust_domains(case: Case) -> None:
    log, registers = parse(case.read("log")), rtmrs(case)
    matches = [number not in unexplained(log, registers) for number in range(1, 5)]
    assert str(matches) in case.expected
    if all(matches):
        check(log, registers)
    else:
        with pytest.raises(NotAuthenticError) as caught:
            check(log, registers)
        assert caught.value.where == "event log.rtmr2"


@pytest.mark.parametrize("case", vectors.cases("ccel", role="expected_parse"))
def test_real_logs_say_what_another_reader_found(case: Case) -> None:
    wanted = json.loads(case.read("expected_parse"))["uefi_event_logs"]
    events = parse(case.read("log")).events
    assert len(events) == len(wanted)
    for found, want in zip(events, wanted, strict=True):
        assert (found.register, found.name, found.covers_data("sha384")) == (
            want["index"],
            want["type_name"],
            want["digest_matches_event"],
        )
        assert base64.b64encode(found.data).decode() == want["event"]
        assert [one.hex() for one in found.digests.values()] == [one["digest"] for one in want["digests"]]


# PCR 0 and 4 of the SHA-256 bank: what the firmware of those machines is known by.
@pytest.mark.parametrize("case", vectors.cases("tpmlog"))
def test_real_logs_of_tpms_can_be_replayed(case: Case) -> None:
    log = parse(case.read("log"))
    assert "sha256" in log.algorithms
    registers = replay(log, "sha256")
    assert {0, 1, 2, 3, 4, 5, 6, 7} <= set(registers)
    # A register with nothing but the separator of the firmware has this value on every machine.
    assert registers[3] == extended(bytes(4), start=bytes(32), algorithm="sha256")
    assert log.startup_locality == (3 if "gdc" in case.id else 0)


@pytest.mark.parametrize("case", vectors.cases("ccel", "tpmlog"))
def test_no_prefix_that_breaks_off_in_an_event_is_a_log(case: Case) -> None:
    data = case.read("log")
    whole = parse(data).events
    for size in range(0, min(len(data), 4000), 3):
        try:
            events = parse(data[:size]).events
        except EvidenceFormatError:
            continue
        assert events == whole[: len(events)]


def test_a_log_with_three_algorithms() -> None:
    log = parse(header() + event(1, b"a") + event(1, b"b") + event(2, b"c", kind=3) + b"\xff" * 64)
    assert log.algorithms == ("sha1", "sha256", "sha384")
    assert replay(log, "sha384") == {1: extended(b"a", b"b")}
    assert replay(log, "sha256") == {1: extended(b"a", b"b", start=bytes(32), algorithm="sha256")}
    assert [one.covers_data("sha384") for one in log.events] == [True, True, False]


@pytest.mark.parametrize(
    "filling", [b"", b"\xff" * 5, b"\xff" * 4096, bytes(8), bytes(4099), b"\xff" * 4 + bytes(40)]
)
def test_what_a_table_is_filled_up_with_is_no_event(filling: bytes) -> None:
    for log, algorithm in ((header() + event(1, b"a"), "sha384"), (legacy(1, b"a"), "sha1")):
        whole = parse(log + filling)
        assert len(whole.events) == 1
        assert replay(whole, algorithm) == replay(parse(log), algorithm)
        assert [one.data for one in whole.events] == [b"a"]


@pytest.mark.parametrize(
    "filling", [bytes(7), bytes(4), bytes(1), bytes(8) + b"\1", bytes(40) + b"\1", b"\xff" * 3]
)
def test_what_breaks_off_behind_an_event_is_no_filling(filling: bytes) -> None:
    for log in (header() + event(1, b"a"), legacy(1, b"a")):
        with pytest.raises(EvidenceFormatError):
            parse(log + filling)


def test_zeros_in_the_data_of_the_last_event_belong_to_it() -> None:
    assert parse(header() + event(1, bytes(40))).events[0].data == bytes(40)
    for data in (bytes(32), bytes(64), bytes(1 << 20)):
        with pytest.raises(EvidenceFormatError, match="events"):
            parse(data)


@pytest.mark.parametrize("one", [struct.pack("<III", 1, 4, 0) + bytes(4), legacy(1, b"")])
def test_a_log_of_more_events_than_any_machine_has(one: bytes) -> None:
    head = b"" if len(one) > 16 else header()
    assert len(parse(head + one * MOST_EVENTS).events) == MOST_EVENTS
    with pytest.raises(EvidenceFormatError, match="events"):
        parse(head + one * (MOST_EVENTS + 1))


def test_a_log_from_before_tpm_2() -> None:
    log = parse(legacy(0, b"a") + legacy(4, b"b"))
    assert log.algorithms == ("sha1",)
    assert replay(log, "sha1") == {
        0: extended(b"a", start=bytes(20), algorithm="sha1"),
        4: extended(b"b", start=bytes(20), algorithm="sha1"),
    }


@pytest.mark.parametrize(("where", "locality"), [("first", 3), ("late", 0)])
def test_the_locality_of_the_start(where: str, locality: int) -> None:
    start = event(0, b"StartupLocality\0\3", kind=3)
    log = parse(header() + (start + event(0, b"a") if where == "first" else event(0, b"a") + start))
    assert log.startup_locality == locality
    assert replay(log, "sha384")[0] == extended(b"a", start=bytes(47) + bytes([locality]))


def test_registers_of_a_dynamic_launch_start_with_all_bits_set() -> None:
    log = parse(header() + event(17, b"a"))
    assert replay(log, "sha384") == {17: extended(b"a", start=b"\xff" * 48)}


def registers(values: dict[int, bytes], algorithm: str = "sha384") -> Registers:
    names = {number: f"r{number}" for number in values}
    return Registers(algorithm, values, names, frozenset(values))


def test_an_empty_log_explains_nothing_but_initial_values() -> None:
    empty = parse(header())
    check(empty, registers({1: ZERO, 17: b"\xff" * 48}))
    for wrong in ({1: extended(b"a")}, {17: ZERO}):
        with pytest.raises(NotAuthenticError):
            check(empty, registers(wrong))


def test_a_log_without_the_algorithm_explains_nothing() -> None:
    """Else registers that nobody extended would match any log of another algorithm."""
    log = parse(header({4: 20}) + event(1, b"a", algorithms=(4,)))
    with pytest.raises(NotAuthenticError) as caught:
        check(log, registers({1: ZERO}))
    assert caught.value.where == "event log.algorithms"


def test_an_event_that_was_left_out_or_changed() -> None:
    signed = registers({1: extended(b"a", b"b")})
    check(parse(header() + event(1, b"a") + event(1, b"b")), signed)
    for events in (event(1, b"a"), event(1, b"b") + event(1, b"a"), event(1, b"a") + event(2, b"b")):
        with pytest.raises(NotAuthenticError):
            check(parse(header() + events), signed)


def test_data_that_no_digest_covers() -> None:
    assert not Event(1, 4, {"sha256": bytes(32)}, b"a").covers_data("sha256")
    assert not Event(1, 4, {}, b"a").covers_data("sha256")
    true = {"sha1": hashlib.sha1(b"a").digest(), "sha256": bytes(32)}  # noqa: S324
    assert Event(1, 4, true, b"a").covers_data("sha1")
    assert not Event(1, 4, true, b"a").covers_data("sha256")
    assert not Event(1, 3, true, b"a").covers_data("sha1")


def test_what_was_not_extended_into_an_explained_register_is_not_shown() -> None:
    """Anybody can add such events to a log, with digests that are those of their data."""
    added = (
        event(1, b"no action", kind=3),
        event(2, b"another bank", algorithms=(4,)),
        event(3, b"does not lead to the register"),
    )
    names = {number: f"r{number}" for number in (1, 2, 3)}
    signed = Registers("sha384", {1: extended(b"a"), 2: ZERO, 3: ZERO}, names, frozenset({1, 2}))
    log = parse(header() + event(1, b"a") + b"".join(added))
    check(log, signed)
    shown = of_log(log, signed)
    assert shown["unexplained"] == ["r3"]
    events = shown["events"]
    assert isinstance(events, list)
    assert [one["data"] for one in events] == [b"a".hex(), None, None, None]  # type: ignore[index,call-overload]


MALFORMED = {
    "nothing": b"",
    "an event that breaks off": header() + event(1, b"abc")[:-1],
    "no algorithms": header({}),
    "too many algorithms": header(dict.fromkeys(range(256), 1)),
    "SHA-256 of 20 bytes": header({11: 20}),
    "more digests than algorithms": header({4: 20}) + event(1, b"a"),
    "an algorithm that the header does not have": header({4: 20, 11: 32}) + event(1, b"a", algorithms=(12,)),
    "an algorithm twice": header() + event(1, b"a", algorithms=(4, 4)),
    "a locality of two bytes": header() + event(0, b"StartupLocality\0\3\3", kind=3),
    "too large": bytes((1 << 22) + 1),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_bytes_that_are_no_log(name: str) -> None:
    with pytest.raises(EvidenceFormatError):
        parse(MALFORMED[name])


@pytest.mark.parametrize("tee", ["snp", "sgx", "nitro", "nvidia", "simulated"])
def test_evidence_without_registers(tee: str) -> None:
    with pytest.raises(EvidenceFormatError):
        of_event_log(kinds.KINDS[tee], None, header())


@pytest.mark.parametrize("tee", list(kinds.KINDS))
def test_which_kinds_have_registers(tee: str) -> None:
    assert (kinds.KINDS[tee].registers is not None) == (tee in {"tdx", "azure-snp", "azure-tdx", "tpm"})
