"""Which modules, in which order, out of which compression; and what is wrong with a folder of them."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from images.errors import ImageSpecError
from images.kernel_modules import Wanted, modules_for

ELF = b"\x7fELF"
DEPENDENCIES = """\
kernel/ring.ko:
kernel/virtio.ko.xz: kernel/ring.ko
kernel/virtio-pci.ko.gz: kernel/legacy.ko.zst kernel/virtio.ko.xz kernel/ring.ko
kernel/legacy.ko.zst:
kernel/console.ko: kernel/virtio.ko.xz kernel/ring.ko
"""


def folder(**others: bytes | None) -> Mapping[str, bytes]:
    zstandard = pytest.importorskip("zstandard")
    files: dict[str, bytes | None] = {
        "modules.dep": DEPENDENCIES.encode(),
        "modules.builtin": b"kernel/drivers/tpm-tis.ko\n",
        "kernel/ring.ko": ELF + b"ring",
        "kernel/virtio.ko.xz": lzma.compress(ELF + b"virtio"),
        "kernel/virtio-pci.ko.gz": gzip.compress(ELF + b"pci"),
        "kernel/legacy.ko.zst": zstandard.compress(ELF + b"legacy"),
        "kernel/console.ko": ELF + b"console",
        **{name.replace("__", "/").replace("_ko", ".ko"): data for name, data in others.items()},
    }
    return {name: data for name, data in files.items() if data is not None}


def found(*wanted: Wanted, **others: bytes | None) -> list[tuple[str, bytes, str]]:
    modules = modules_for(wanted, folder(**others).get, "modules")
    return [(one.name, one.data[4:], one.reason) for one in modules]


def test_what_a_module_needs_comes_before_it_and_once() -> None:
    both = found(Wanted(("virtio_pci",), "the bus"), Wanted(("console",), "the port"))
    assert both == [
        ("ring", b"ring", "virtio_pci needs it: the bus"),
        ("virtio", b"virtio", "virtio_pci needs it: the bus"),
        ("legacy", b"legacy", "virtio_pci needs it: the bus"),
        ("virtio_pci", b"pci", "the bus"),
        ("console", b"console", "the port"),
    ]


def test_names_are_those_of_modprobe() -> None:
    assert found(Wanted(("virtio-pci",), "a")) == found(Wanted(("virtio_pci",), "a"))


def test_what_is_built_in_is_there_already() -> None:
    assert found(Wanted(("tpm_tis",), "the TPM")) == []
    assert found(Wanted(("tpm_crb", "tpm_tis"), "the TPM", all_of_them=False)) == []


def test_one_of_several_is_enough_where_it_was_said_so() -> None:
    assert [one[0] for one in found(Wanted(("sev_guest", "ring"), "a TEE", all_of_them=False))] == ["ring"]


BAD = {
    "missing": (Wanted(("nothing",), "why"), {}, "modules: why: found no module nothing, want it"),
    "one-of-two": (Wanted(("ring", "nothing"), "why"), {}, "found no module nothing"),
    "none-of-two": (Wanted(("a", "b"), "why", all_of_them=False), {}, "found no module a or b"),
    "no-folder": (Wanted(("ring",), "why"), {"modules.dep": None}, "found no modules.dep"),
    "no-file": (
        Wanted(("ring",), "why"),
        {"kernel__ring_ko": None},
        "modules/kernel/ring.ko: found no such file",
    ),
    "no-object": (Wanted(("ring",), "why"), {"kernel__ring_ko": b"text"}, "found b'text' at its start"),
    "damaged": (
        Wanted(("virtio",), "why"),
        {"kernel__virtio_ko.xz": b"\xfd7zXZ\0damaged"},
        "a damaged xz stream",
    ),
    "no-table": (Wanted(("ring",), "why"), {"modules.dep": b"no colon\n"}, "want PATH: DEPENDENCIES"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str) -> None:
    wanted, others, words = BAD[case]
    with pytest.raises(ImageSpecError) as refused:
        found(wanted, **others)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_the_order_is_that_of_modprobe() -> None:
    """On a real folder, where there is one, with the tool that everybody loads modules by."""
    folders = sorted(Path("/lib/modules").glob("*/modules.dep"))
    modprobe = shutil.which("modprobe", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not folders or modprobe is None:
        pytest.skip("no modules or no modprobe here (apt install kmod linux-image-cloud-amd64)")
    place = folders[-1].parent
    read = lambda path: (place / path).read_bytes() if (place / path).is_file() else None  # noqa: E731
    command = [modprobe, "--show-depends", "--set-version", place.name, "virtio_net"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = [
        Path(line.split()[1]).name.split(".")[0] for line in shown.splitlines() if line.startswith("insmod")
    ]
    ours = modules_for((Wanted(("virtio_net",), "a"),), read, str(place))
    assert [one.name for one in ours] == [name.replace("-", "_") for name in theirs]
