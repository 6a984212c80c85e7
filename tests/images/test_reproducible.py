"""Bootable images depend on what they are made of, and on nothing of the process that makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MAKE = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from images import disk, eif, reference_values, uki
from attestation.reference_values import write
from tests.fakes import bzimage, pe
kernel = bzimage.kernel()
program = uki.image(pe.stub(), uki.Parts(kernel, b"0707" * 99, "quiet", b"ID=shim\\n"))
about = eif.Description("hello", "1.0", "shim", "0.1.0", 1_700_000_000)
enclave = eif.image(eif.Parts(kernel, "quiet", (b"0707" * 99,)), about)
values = reference_values.of_uki(program, "it") + reference_values.of_eif(enclave, "it")
disks = (make(program, 1_700_000_000).to_bytes() for make in (disk.image, disk.vhd_image))
for data in (program, *disks, enclave, write(values)):
    print(hashlib.sha256(data).hexdigest())
"""


def digests(folder: Path, mask: int, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _MAKE, str(ROOT)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        umask=mask,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_clock_locale_order_and_place_do_not_matter(tmp_path: Path) -> None:
    first = digests(tmp_path, 0o022, PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C")
    second = digests(ROOT, 0o077, PYTHONHASHSEED="2", TZ="Pacific/Auckland", LC_ALL="C.UTF-8")
    assert first == second
    assert len(set(first)) == 5
