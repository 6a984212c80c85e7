"""The registers of a real TPM, after real firmware booted a unified kernel image."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from images.measure import pcr, uki
from tests import guest, measured_boot


def test_registers_are_those_predicted(tmp_path: Path) -> None:
    kernel, lacking = guest.kernel(), measured_boot.lacking()
    if lacking:
        pytest.skip(f"no {', '.join(lacking)} ({measured_boot.PACKAGES})")
    texts = {".osrel": "ID=shim\n", ".cmdline": "console=ttyS0\tquiet panic=-1 \n", ".uname": "6.1"}
    parts = {}
    for name, text in texts.items():
        parts[name] = tmp_path / name
        parts[name].write_text(text)
    path = measured_boot.unified(
        tmp_path, {**parts, ".initrd": measured_boot.initrd(tmp_path), ".linux": kernel}
    )
    folder = tmp_path / "esp" / "EFI" / "BOOT"
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "BOOTX64.EFI")
    disk = ["-drive", f"file=fat:rw:{tmp_path / 'esp'},format=raw,if=none,id=disk"]
    found = measured_boot.boot(tmp_path, *disk, "-device", "virtio-blk-pci,drive=disk")
    image = uki.parse(path.read_bytes())
    predicted = {
        4: pcr.boot_programs(image, "sha256", secure_boot=False),
        9: pcr.kernel_inputs(image, "sha256"),
        11: pcr.image_contents(image, "sha256"),
        12: pcr.outside_inputs(image, "sha256"),
    }
    assert {number: value.hex() for number, value in predicted.items()} == found
