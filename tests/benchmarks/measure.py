"""
Are predicted measurements those of sev-snp-measure from PyPI, and of a real TPM, and how long do they take?

Inputs are generated: firmware of 4 MB with its tables, kernels, command lines, numbers and types of processors.
Each tool gets what its users give it: files.  Run as a program it prints the table.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from images.measure import firmware, pcr, pe, register, setup_header, snp, tdx, vcpu
from images.measure.kernel_hashes import KernelHashes, kernel_hashes
from images.measure.snp import Launch
from images.measure.vmsa import Vmm
from tests import guest, measured_boot
from tests.fakes import ovmf

SIZE = 4 << 20
CMDLINE = "console=ttyS0 quiet panic=-1"
_PEER_NAMES = {Vmm.QEMU: "QEMU", Vmm.EC2: "ec2", Vmm.GCE: "gce"}


@dataclass(frozen=True, slots=True)
class Input:
    """One generated launch: files, and how the VM is started."""

    firmware: Path
    kernel: Path | None
    initrd: Path
    cmdline: str
    launch: Launch


def measure(n: int) -> dict[str, Any]:
    """Return how many of `n` digests agree, and medians in milliseconds for firmware of 4 MB."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = list(itertools.islice(_inputs(Path(folder)), n))
        row: dict[str, Any] = {"inputs": n, "snp_ms": _median(lambda: _ours(inputs[0]))}
        image = firmware.parse(inputs[0].firmware.read_bytes())
        row["mrtd_ms"] = _median(lambda: tdx.mrtd(image))
        peer = _peer()
        if peer is not None:
            row["agree"] = sum(_ours(one) == peer(one) for one in inputs)
            row["sev_snp_measure_ms"] = _median(lambda: peer(inputs[0]))
    return {**row, **_booted()}


def _inputs(folder: Path) -> Iterator[Input]:
    """Yield launches that differ in everything that is measured; the first is the one that is timed."""
    chosen = random.Random(1)  # noqa: S311  # the same inputs in every run
    for number in itertools.count():
        image, kernel, initrd = (folder / f"{name}{number}" for name in ("ovmf", "kernel", "initrd"))
        size = SIZE if number == 0 else chosen.choice((0x10000, 0x40000))
        image.write_bytes(_firmware(size, chosen.randbytes(8)))
        kernel.write_bytes(chosen.randbytes(chosen.randrange(1, 1 << 16)))
        initrd.write_bytes(chosen.randbytes(chosen.randrange(1 << 16)))
        launch = Launch(
            vcpus=chosen.choice((1, 2, 4, 64)),
            cpu_signature=chosen.choice(list(vcpu.SIGNATURES.values())),
            vmm=list(Vmm)[number % len(Vmm)],
            guest_features=chosen.choice((0x1, 0x21, 0xFFFF)),
        )
        cmdline = "x" * chosen.randrange(40)
        yield Input(image, kernel if chosen.random() < 0.7 else None, initrd, cmdline, launch)


def _firmware(size: int, seed: bytes) -> bytes:
    """Return an image whose metadata speaks of TDX, too, wherever its volumes are."""
    low = (1 << 32) - size
    rows = ((0x4000, size - 0x4000, low + 0x4000, size - 0x4000, 0, 1), (0, 0x4000, low, 0x4000, 1, 0))
    return ovmf.firmware(tdx=ovmf.tdx_metadata(rows), size=size, seed=seed)


def _ours(one: Input) -> bytes:
    image = firmware.parse(one.firmware.read_bytes())
    hashes: KernelHashes | None = None
    if one.kernel is not None:
        hashes = kernel_hashes(one.kernel.read_bytes(), one.initrd.read_bytes(), one.cmdline.encode())
    return snp.launch_digest(image, one.launch, hashes)


def _peer() -> Callable[[Input], bytes] | None:
    """Return what asks sev-snp-measure, None where it is not installed."""
    try:
        from sevsnpmeasure import guest as theirs, sev_mode, vmm_types  # noqa: PLC0415  # only where it is
    except ImportError:
        return None

    def ask(one: Input) -> bytes:
        digest: bytes = theirs.calc_launch_digest(
            sev_mode.SevMode.SEV_SNP,
            one.launch.vcpus,
            one.launch.cpu_signature,
            str(one.firmware),
            str(one.kernel or ""),
            str(one.initrd),
            one.cmdline,
            one.launch.guest_features,
            "",
            vmm_types.VMMType[_PEER_NAMES[one.launch.vmm]],
        )
        return digest

    return ask


def _booted() -> dict[str, Any]:
    """Return whether a TPM has the registers that are predicted for a kernel which QEMU hands over."""
    try:
        kernel = guest.kernel()
    except pytest.skip.Exception as reason:
        return {"not booted": str(reason)}
    lacking = measured_boot.lacking()
    if lacking:
        return {"not booted": f"no {', '.join(lacking)} ({measured_boot.PACKAGES})"}
    with tempfile.TemporaryDirectory() as folder:
        initrd = measured_boot.initrd(Path(folder))
        handed = ("-kernel", str(kernel), "-initrd", str(initrd), "-append", CMDLINE)
        found = measured_boot.boot(Path(folder), *handed)
        data, files = kernel.read_bytes(), initrd.read_bytes()
    patched = setup_header.patched(data, len(files), measured_boot.MEMORY << 20)
    programs = {_register_4(data), _register_4(patched)}
    line = (CMDLINE + " initrd=initrd\0").encode("utf-16-le")
    inputs = register.extended([hashlib.sha256(event).digest() for event in (line, files)], "sha256")
    return {"booted": found[4] in programs and found[9] == inputs.hex()}


def _register_4(kernel: bytes) -> str:
    events = [pe.authenticode(pe.parse(kernel), "sha256")]
    events += [hashlib.sha256(event).digest() for event in (pcr.CALLING, pcr.SEPARATOR)]
    return register.extended(events, "sha256").hex()


def _median(run: Callable[[], object], times: int = 20) -> float:
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return round(median(taken) * 1000, 3)


if __name__ == "__main__":
    print(json.dumps(measure(200), indent=1))
