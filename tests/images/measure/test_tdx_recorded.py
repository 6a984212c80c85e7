"""
Measurements of real trust domains, from the firmware that they ran and the tables that QEMU made for them.

Firmware is no part of the recorded cases; it is in packages of Ubuntu, by whose digests it is known here.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from attestation.eventlog import log
from attestation.intel import evidence
from attestation.intel.report import TdReport
from images.measure import firmware, tdx
from tests import vectors

RECORDED = vectors.ROOT / "measure" / "tdx-canonical-defaults"
INSTALLED = Path("/usr/share/ovmf")
# SHA-256 of the image: whose quote or record has its MRTD, and which package it is in.
KNOWN = {
    "9e807cb2cd4313406a3aa4becc0836671a5c64ca7bdc08a45e15260184b446bf": ("recorded", "ovmf 2025.02-3ubuntu2"),
    "a8135e3ddf1a3217cf36fa579c3cd24baed74a7879a656a5d7097e828af0a72e": (
        "tdx/live-b0c06f-v4",
        "ovmf 2025.02-8ubuntu3",
    ),
    "ae577ac531f6d7ecf7aee3203bfbd3d40db5eb8f79ce3e1ba69894a4711bc118": (
        "tdx/gtg-v5-uptodate",
        "ovmf-inteltdx 2025.02-8ubuntu3",
    ),
}
# Of that firmware: where hand-off block and temporary memory are, and which of them is the block.
MEMORY = ((0x800000, 0x806000), (0x809000, 0x80B000), (0x80B000, 0x80D000), (0x811000, 0x820000))
TD_HOB = 0x809000
_TABLES, _POINTER = "etc/acpi/tables", "etc/acpi/rsdp"


def signed_mrtd(name: str) -> str:
    """Return the MRTD of a record, or of the quote of a case."""
    if name == "recorded":
        return str(json.loads((RECORDED / "expected.json").read_text())["mrtd"])
    case = next(case for case in vectors.load("dcap", "info") if case.id == name)
    report = evidence.parse(case.read("quote")).report
    assert isinstance(report, TdReport)
    return report.mr_td.hex()


def test_mrtd_of_known_firmware_is_the_one_that_real_quotes_sign() -> None:
    if not RECORDED.is_dir():
        pytest.skip(vectors.ABSENT)
    images = [path.read_bytes() for path in sorted(INSTALLED.glob("*.fd")) if path.is_file()]
    known = [
        (image, KNOWN[digest]) for image in images if (digest := hashlib.sha256(image).hexdigest()) in KNOWN
    ]
    if not known:
        pytest.skip(f"no {' or '.join(package for _, package in KNOWN.values())} of Ubuntu in {INSTALLED}")
    for image, (name, _) in known:
        assert tdx.mrtd(firmware.parse(image)).hex() == signed_mrtd(name)


def test_rtmr0_of_the_recorded_machine_is_reproduced() -> None:
    """Its firmware has the configuration volume of another machine, whose log says its digest."""
    case = next((case for case in vectors.load("ccel") if case.id == "eventlog/ccel-live"), None)
    if case is None:
        pytest.skip(vectors.ABSENT)
    volume = log.parse(case.read("log")).events[1].digests["sha384"]
    tables = (RECORDED / "acpi_tables.bin").read_bytes()
    given = [
        hashlib.sha384(data).digest() for data in (hob(2 << 30), loader(tables), pointer(tables), tables)
    ]
    expected = json.loads((RECORDED / "expected.json").read_text())["rtmr0"]
    assert tdx.rtmr0_of_digests(given[0], volume, tuple(given[1:])).hex() == expected
    for number in range(4):
        changed = [value[::-1] if at == number else value for at, value in enumerate(given)]
        assert tdx.rtmr0_of_digests(changed[0], volume, tuple(changed[1:])).hex() != expected


def hob(memory: int) -> bytes:
    """Return the hand-off block of QEMU 9.2 for a small machine: what is accepted already, and what is not."""
    resources, start = b"", 0
    for low, high in MEMORY:
        if low > start:
            resources += _resource(7, start, low)
        resources += _resource(0, low, high)
        start = high
    resources += _resource(7, start, memory)
    end = TD_HOB + 56 + len(resources) + 8
    return struct.pack("<HHIII32xQ", 1, 56, 0, 9, 0, end) + resources


def _resource(kind: int, low: int, high: int) -> bytes:
    return struct.pack("<HHI16xIIQQ", 3, 48, 0, kind, 7, low, high - low)


def acpi(tables: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield signature, offset and size of each table in QEMU's file of all."""
    at = 0
    while tables[at : at + 4].isalpha():
        size = int.from_bytes(tables[at + 4 : at + 8], "little")
        yield tables[at : at + 4].decode(), at, size
        at += size


def pointer(tables: bytes) -> bytes:
    """Return the root pointer of ACPI as QEMU makes it, without its checksum."""
    root = next(at for name, at, _ in acpi(tables) if name == "RSDT")
    return b"RSD PTR \0BOCHS \0" + struct.pack("<I", root)


def loader(tables: bytes) -> bytes:
    """Return the commands by which firmware links the tables: allocate, add pointers, add checksums."""
    places = {name: (at, size) for name, at, size in acpi(tables)}
    facp, (rsdt, size) = places["FACP"][0], places["RSDT"]
    commands = [_command(1, "<56sIB", _POINTER, 16, 2), _command(1, "<56sIB", _TABLES, 64, 1)]
    commands.append(_checksum(_TABLES, *places["DSDT"]))
    commands += [_link(_TABLES, facp + offset, width) for offset, width in ((36, 4), (40, 4), (140, 8))]
    commands.append(_checksum(_TABLES, *places["FACP"]))
    others = [place for name, place in places.items() if name not in {"FACS", "DSDT", "FACP", "RSDT"}]
    commands += [_checksum(_TABLES, *place) for place in others]
    commands += [_link(_TABLES, at, 4) for at in range(rsdt + 36, rsdt + size, 4)]
    commands += [_checksum(_TABLES, rsdt, size), _link(_POINTER, 16, 4)]
    commands.append(_command(3, "<56sIII", _POINTER, 8, 0, 20))
    return b"".join(commands).ljust(4096, b"\0")


def _link(file: str, at: int, width: int) -> bytes:
    return _command(2, "<56s56sIB", file, _TABLES, at, width)


def _checksum(file: str, at: int, size: int) -> bytes:
    return _command(3, "<56sIII", file, at + 9, at, size)


def _command(number: int, layout: str, *fields: str | int) -> bytes:
    packed = [field.encode() if isinstance(field, str) else field for field in fields]
    return (struct.pack("<I", number) + struct.pack(layout, *packed)).ljust(128, b"\0")
