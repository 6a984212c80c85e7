"""A Linux of its own for what this machine's kernel does not offer: Debian's, in QEMU, with files of ours."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

QEMU = "qemu-system-x86_64"
PACKAGES = "apt install qemu-system-x86 linux-image-cloud-amd64 cpio busybox-static"
SECONDS = 180
_FOLDERS = ("proc", "sys", "dev", "tmp", "bin")
_BEGIN, _END = "guest: begin", "guest: end"
_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup /sys/fs/cgroup
echo
echo '{begin}'
sh /script 2>&1
echo '{end}'
poweroff -f
"""


def kernel() -> Path:
    """Return a kernel that QEMU can boot; the test is skipped without one, or without QEMU."""
    found = sorted(Path("/boot").glob("vmlinuz-*"))
    tools = [tool for tool in (QEMU, "cpio", "busybox") if shutil.which(tool) is None]
    if tools or not found:
        pytest.skip(f"no {', '.join(tools) or 'kernel in /boot'} ({PACKAGES})")
    return found[-1]


def boot(folder: Path, files: Mapping[str, bytes], script: str) -> list[str]:
    """Return what a script prints that runs as root in a guest with these files, by their absolute paths."""
    kernel()
    root = folder / "root"
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    init = _INIT.format(begin=_BEGIN, end=_END).encode()
    for name, content in {**files, "/script": script.encode(), "/init": init}.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    shutil.copy(str(shutil.which("busybox")), root / "bin" / "busybox")
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names, capture_output=True, check=True
    ).stdout
    initramfs = folder / "initramfs"
    initramfs.write_bytes(packed)
    lines = power_on(initramfs, "panic=-1 mitigations=off")
    if _BEGIN not in lines or _END not in lines:
        pytest.fail("the guest did not run its script to the end:\n" + "\n".join(lines)[-3000:])
    return lines[lines.index(_BEGIN) + 1 : lines.index(_END)]


def members(archive: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name of each member of archives in the format newc, and what it holds; of one name the last counts."""
    at = 0
    while (at := archive.find(b"070701", at, at + 512)) >= 0:
        size, name_size = int(archive[at + 54 : at + 62], 16), int(archive[at + 94 : at + 102], 16)
        start = at + 110 + name_size
        start += -start % 4
        yield archive[at + 110 : at + 110 + name_size - 1], archive[start : start + size]
        at = start + size + -size % 4


def machine_command(initramfs: Path, words: str) -> list[str]:
    """Return the command of a machine with these words for its kernel, whose console is standard output."""
    command = [QEMU, "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "512", "-no-reboot"]
    # Not -nographic: then the firmware writes to the same line.
    command += ["-display", "none", "-vga", "none", "-monitor", "none", "-serial", "stdio"]
    command += ["-nic", "none", "-kernel", str(kernel()), "-initrd", str(initramfs)]
    return [*command, "-append", words]


def power_on(initramfs: Path, words: str) -> list[str]:
    """Return what stands on the console of a machine with these words for its kernel, once it is off."""
    done = subprocess.run(
        machine_command(initramfs, f"console=ttyS0 quiet no_timer_check {words}"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    return [line.strip("\r") for line in (done.stdout + done.stderr).splitlines()]
