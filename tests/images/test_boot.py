"""Firmware boots of a disk that we made, and a TPM measures what we predicted."""

from __future__ import annotations

from pathlib import Path

import pytest

from images import disk, reference_values, uki
from images.uki import Parts
from tests import guest, measured_boot

CREATED = 1_700_000_000


def test_a_disk_boots_and_measures_to_its_reference_values(tmp_path: Path) -> None:
    kernel, lacking = guest.kernel(), measured_boot.lacking()
    if lacking:
        pytest.skip(f"no {', '.join(lacking)} ({measured_boot.PACKAGES})")
    initrd = measured_boot.initrd(tmp_path).read_bytes()
    parts = Parts(kernel.read_bytes(), initrd, "console=ttyS0 quiet panic=-1", b"ID=shim\n")
    program = uki.image(measured_boot.STUB.read_bytes(), parts)
    path = tmp_path / "disk.vhd"
    with path.open("xb") as file:
        disk.vhd_image(program, CREATED).write_to(file)

    drive = ["-drive", f"file={path},format=vpc,if=none,id=disk,snapshot=on"]
    found = measured_boot.boot(tmp_path, *drive, "-device", "virtio-blk-pci,drive=disk,bootindex=0")
    predicted = {
        entry.register: entry.digest.hex()
        for entry in reference_values.of_uki(program, "the test")
        if entry.environment.get("secure_boot", "off") == "off"
    }
    assert predicted == {f"pcr{number}": found[number] for number in (4, 9, 11)}
