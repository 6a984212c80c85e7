"""The registers of a TPM after real firmware booted something: QEMU, OVMF, swtpm and systemd-stub."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import guest

CODE, VARIABLES = (Path(f"/usr/share/OVMF/OVMF_{name}_4M.fd") for name in ("CODE", "VARS"))
STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
PACKAGES = "apt install ovmf swtpm systemd-boot-efi binutils busybox-static cpio"
SECONDS = 120
MEMORY = 512
REGISTERS = (4, 9, 11, 12)
_INIT = """#!/bin/busybox sh
/bin/busybox mount -t sysfs sys /sys
for number in 4 9 11 12; do /bin/busybox echo "register $number $(/bin/busybox cat /sys/class/tpm/tpm0/pcr-sha256/$number)"; done
/bin/busybox poweroff -f
"""


def lacking() -> list[str]:
    """Return what this needs beside `tests.guest.kernel`, and is not here."""
    found = [tool for tool in ("swtpm", "objcopy", "objdump") if shutil.which(tool) is None]
    return found + [str(path) for path in (CODE, VARIABLES, STUB) if not path.is_file()]


def initrd(folder: Path) -> Path:
    """Return an initrd whose init prints the registers."""
    root = folder / "root"
    for name in ("bin", "sys"):
        (root / name).mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), root / "bin" / "busybox")
    (root / "init").write_text(_INIT)
    (root / "init").chmod(0o755)
    names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
    pack = ["cpio", "-o", "-H", "newc", "--quiet"]
    packed = subprocess.run(pack, cwd=root, input=names, capture_output=True, check=True).stdout
    path = folder / "initrd"
    path.write_bytes(packed)
    return path


@contextmanager
def tpm(folder: Path) -> Iterator[list[str]]:
    """Provide QEMU's arguments for a new TPM."""
    (folder / "tpm").mkdir()
    control = folder / "control"
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder / 'tpm'}"]
    process = subprocess.Popen([*command, "--ctrl", f"type=unixio,path={control}"])
    try:
        deadline = time.monotonic() + 10
        while not control.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        arguments = ["-chardev", f"socket,id=tpm,path={control}", "-tpmdev", "emulator,id=tpm0,chardev=tpm"]
        yield [*arguments, "-device", "tpm-crb,tpmdev=tpm0"]
    finally:
        process.terminate()
        process.wait(10)


def boot(folder: Path, *arguments: str) -> dict[int, str]:
    """Return the registers that a guest prints."""
    variables = folder / "variables.fd"
    shutil.copy(VARIABLES, variables)
    command = [guest.QEMU, "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", str(MEMORY), "-nographic"]
    command += ["-no-reboot", "-nodefaults", "-serial", "stdio", "-nic", "none"]
    command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={CODE}"]
    command += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    with tpm(folder) as device:
        done = subprocess.run(
            [*command, *device, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    found = {
        int(number): value.lower()
        for number, value in re.findall(r"register (\d+) ([0-9A-F]{64})", done.stdout)
    }
    assert set(found) == set(REGISTERS), done.stdout[-2000:] + done.stderr[-500:]
    return found


def unified(folder: Path, parts: dict[str, Path]) -> Path:
    """Return an image that objcopy made of the stub and these sections, as systemd-stub(7) tells."""
    shown = subprocess.run(["objdump", "-h", str(STUB)], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\s*\d+\s+\S+\s+([0-9a-f]+)\s+([0-9a-f]+)", shown, re.MULTILINE)
    address = max(int(size, 16) + int(at, 16) for size, at in rows)
    command = ["objcopy"]
    for name, path in parts.items():
        address = -(-address // 0x10000) * 0x10000
        command += ["--add-section", f"{name}={path}", "--change-section-vma", f"{name}={address:#x}"]
        address += path.stat().st_size
    image = folder / "uki.efi"
    subprocess.run([*command, str(STUB), str(image)], check=True, capture_output=True)
    return image
