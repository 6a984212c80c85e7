"""
What does an event log say?

Nobody signs a log.  It explains registers that somebody else signs, as far as its digests lead to their
values; the data of an event means something only where a digest covers it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from attestation.errors import EvidenceFormatError
from attestation.eventlog import MAXIMUM_SIZE, MOST_EVENTS
from attestation.reader import Reader

SOURCE = 'TCG PC Client Platform Firmware Profile, rev. 1.06, section 10, "Event Logging"'
NO_ACTION = 3
_SPEC_ID = b"Spec ID Event03\0"
_LOCALITY = b"StartupLocality\0"
_LEGACY = struct.Struct("<II20sI")
_EMPTY = 8  # register and type: 0 is no type that firmware still uses

# TCG Algorithm Registry, rev. 1.34, section 6.10: number, and what the library calls it.
ALGORITHMS: Mapping[int, str] = {0x04: "sha1", 0x0B: "sha256", 0x0C: "sha384", 0x0D: "sha512", 0x12: "sm3"}

# The profile's section 10.4.1, "Event Types".
NAMES: Mapping[int, str] = {
    0x00: "EV_PREBOOT_CERT",
    0x01: "EV_POST_CODE",
    0x03: "EV_NO_ACTION",
    0x04: "EV_SEPARATOR",
    0x05: "EV_ACTION",
    0x06: "EV_EVENT_TAG",
    0x07: "EV_S_CRTM_CONTENTS",
    0x08: "EV_S_CRTM_VERSION",
    0x09: "EV_CPU_MICROCODE",
    0x0A: "EV_PLATFORM_CONFIG_FLAGS",
    0x0B: "EV_TABLE_OF_DEVICES",
    0x0C: "EV_COMPACT_HASH",
    0x0D: "EV_IPL",
    0x0E: "EV_IPL_PARTITION_DATA",
    0x0F: "EV_NONHOST_CODE",
    0x10: "EV_NONHOST_CONFIG",
    0x11: "EV_NONHOST_INFO",
    0x12: "EV_OMIT_BOOT_DEVICE_EVENTS",
    0x13: "EV_POST_CODE2",
    0x8000_0001: "EV_EFI_VARIABLE_DRIVER_CONFIG",
    0x8000_0002: "EV_EFI_VARIABLE_BOOT",
    0x8000_0003: "EV_EFI_BOOT_SERVICES_APPLICATION",
    0x8000_0004: "EV_EFI_BOOT_SERVICES_DRIVER",
    0x8000_0005: "EV_EFI_RUNTIME_SERVICES_DRIVER",
    0x8000_0006: "EV_EFI_GPT_EVENT",
    0x8000_0007: "EV_EFI_ACTION",
    0x8000_0008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
    0x8000_0009: "EV_EFI_HANDOFF_TABLES",
    0x8000_000A: "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
    0x8000_000B: "EV_EFI_HANDOFF_TABLES2",
    0x8000_000C: "EV_EFI_VARIABLE_BOOT2",
    0x8000_000E: "EV_EFI_GPT_EVENT2",
    0x8000_0010: "EV_EFI_HCRTM_EVENT",
    0x8000_00E0: "EV_EFI_VARIABLE_AUTHORITY",
    0x8000_00E1: "EV_EFI_SPDM_FIRMWARE_BLOB",
    0x8000_00E2: "EV_EFI_SPDM_FIRMWARE_CONFIG",
}


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event.

    Attributes:
        register: A PCR's number; in a log of a trust domain 0 for MRTD and one more than the RTMR's.
        kind: The event's type.
        digests: What was extended, by algorithm.
        data: What the event was about.
        label: What whoever extended it called it; "" where events have only types.
        preimage: What the digests are of, where that is not the data alone.
    """

    register: int
    kind: int
    digests: Mapping[str, bytes]
    data: bytes
    label: str = ""
    preimage: bytes | None = None

    @property
    def name(self) -> str:
        """The type's name, or its number."""
        return NAMES.get(self.kind, f"0x{self.kind:x}")

    def covers_data(self, algorithm: str) -> bool:
        """
        Whether the digest that a bank was extended with is that of the data.

        Else nothing says that data and label are true: what is extended nowhere, or into another bank only,
        anybody can add to a log.
        """
        digest = self.digests.get(algorithm)
        if self.kind == NO_ACTION or digest is None:
            return False
        covered = self.data if self.preimage is None else self.preimage
        return hashlib.new(algorithm, covered).digest() == digest


@dataclass(frozen=True, slots=True)
class EventLog:
    """
    A log.

    Attributes:
        algorithms: In which its digests are.
        startup_locality: From which the TPM was started: with what register 0 begins.
        events: In their order, without the header.
        whole: Whether it also has what the running system extended, so that it has to explain every register.
    """

    algorithms: tuple[str, ...]
    startup_locality: int
    events: tuple[Event, ...]
    whole: bool = False


def parse(data: bytes) -> EventLog:
    """
    Return the log in `data`: crypto-agile, or with SHA-1 alone as before TPM 2.0.

    The log ends with its last byte, or where the firmware filled up its table.

    Raises:
        EvidenceFormatError: it is none, or breaks off inside an event.

    Not checked:
        That any register has the value that the log leads to: `attestation.eventlog.replay`.

    Source:
        TCG PC Client Platform Firmware Profile, revision 1.06, section 10.2.1, "TCG_PCClientPCREvent",
        10.2.2, "TCG_PCR_EVENT2", 10.4.5.1, "Specification ID Version Event", 10.4.5.3, "Startup Locality
        Event".
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("event log", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    filled = len(data.rstrip(b"\0"))
    reader = _reader(data)
    first = _legacy_event(reader)
    if first.kind != NO_ACTION or not first.data.startswith(_SPEC_ID):
        return _legacy_log(data, filled)
    sizes = _digest_sizes(first.data)
    events: list[Event] = []
    while not _at_end(reader, filled):
        _check_count(len(events))
        events.append(_event(reader, sizes))
    names = tuple(_name(number) for number in sizes)
    return EventLog(names, _locality(events), tuple(events))


def _legacy_log(data: bytes, filled: int) -> EventLog:
    reader = _reader(data)
    events: list[Event] = []
    while not _at_end(reader, filled):
        _check_count(len(events))
        events.append(_legacy_event(reader))
    if not events:
        raise reader.wrong("events", "none", "one, to say what format it is")
    return EventLog(("sha1",), _locality(events), tuple(events))


def _check_count(count: int) -> None:
    if count >= MOST_EVENTS:
        raise EvidenceFormatError("event log", "events", f"more than {MOST_EVENTS}", f"at most {MOST_EVENTS}")


def _legacy_event(reader: Reader) -> Event:
    register, kind, digest, size = _LEGACY.unpack(reader.take(_LEGACY.size, "event"))
    return Event(register, kind, {"sha1": digest}, reader.take(size, "event data"))


def _event(reader: Reader, sizes: Mapping[int, int]) -> Event:
    register, kind, count = (
        reader.number(4, "register"),
        reader.number(4, "type"),
        reader.number(4, "digests"),
    )
    if count > len(sizes):
        raise reader.wrong("digests", str(count), f"at most {len(sizes)}")
    digests: dict[str, bytes] = {}
    for _ in range(count):
        number = reader.number(2, "algorithm")
        if number not in sizes or _name(number) in digests:
            raise reader.wrong("algorithm", f"0x{number:04x}", "each of the header's once")
        digests[_name(number)] = reader.take(sizes[number], "digest")
    return Event(register, kind, digests, reader.take(reader.number(4, "event size"), "event data"))


def _digest_sizes(header: bytes) -> Mapping[int, int]:
    """Return the sizes of digests by the numbers of their algorithms."""
    reader = _reader(header)
    reader.take(len(_SPEC_ID) + 8, "header")
    count = reader.number(4, "algorithms")
    if not 1 <= count <= len(ALGORITHMS) + 4:
        raise reader.wrong("algorithms", str(count), "a few")
    sizes: dict[int, int] = {}
    for _ in range(count):
        number, size = reader.number(2, "algorithm"), reader.number(2, "digest size")
        known = ALGORITHMS.get(number)
        if number in sizes or (
            known in hashlib.algorithms_available and size != hashlib.new(str(known)).digest_size
        ):
            raise reader.wrong("algorithm", f"0x{number:04x} of {size} bytes", "each once, with its size")
        sizes[number] = size
    return sizes


def _name(number: int) -> str:
    return ALGORITHMS.get(number, f"0x{number:04x}")


def _locality(events: list[Event]) -> int:
    """Only the first event that says so counts, before anything is extended into register 0."""
    for event in events:
        if event.kind == NO_ACTION and event.data.startswith(_LOCALITY):
            if len(event.data) != len(_LOCALITY) + 1:
                raise EvidenceFormatError(
                    "event log", "StartupLocality", event.data.hex(), "one byte", SOURCE
                )
            return event.data[-1]
        if event.kind != NO_ACTION and event.register == 0:
            break
    return 0


def _reader(data: bytes) -> Reader:
    return Reader(data, "event log", SOURCE)


def _at_end(reader: Reader, filled: int) -> bool:
    """Whether nothing is left, or what a table is filled up with: no event has eight zeros at its begin."""
    begin = reader.data[reader.at : reader.at + _EMPTY]
    return not begin or begin[:4] == b"\xff" * 4 or (begin == bytes(_EMPTY) and reader.at >= filled)
