"""What a host offers, as its files and its QEMU say it, and what is chosen of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from images.boot.choice import Technology, choose
from images.boot.errors import QemuError
from images.boot.host import Host, probe

OLD, NEW = "7.2.22", "10.1.0"
SNP = {"dev/sev": "", "dev/kvm": "", "sys/module/kvm_amd/parameters/sev_snp": "Y\n"}
TDX = {"dev/kvm": "", "sys/module/kvm_intel/parameters/tdx": "Y\n"}
ALL = ("sev-guest", "sev-snp-guest", "tdx-guest")


def host(root: Path, files: Mapping[str, str], version: str = NEW, objects: Sequence[str] = ALL) -> Host:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(command: Sequence[str]) -> str:
        said = {
            ("--version",): f"QEMU emulator version {version} (Debian)\nCopyright",
            ("-object", "help"): "List of user creatable objects:\n  " + "\n  ".join(objects),
        }
        return said[tuple(command[1:])]

    return probe("qemu", root, run)


CHOICES = {
    "nothing": ({}, NEW, ALL, Technology.TCG, "no SEV-SNP (no /dev/sev)"),
    "snp": (SNP, NEW, ALL, Technology.SNP, "kvm_amd.sev_snp is on, QEMU 10.1.0 has sev-snp-guest"),
    "snp off": (
        {**SNP, "sys/module/kvm_amd/parameters/sev_snp": "N\n"},
        NEW,
        ALL,
        Technology.KVM,
        "no SEV-SNP (/sys/module/kvm_amd/parameters/sev_snp says N)",
    ),
    "old QEMU": (
        SNP,
        OLD,
        ALL[:1],
        Technology.KVM,
        "QEMU 7.2.22 has no sev-snp-guest, which is in 9.1 and later",
    ),
    "no parameter": (
        {"dev/sev": "", "dev/kvm": "", "sys/module/kvm_amd/x": ""},
        NEW,
        ALL,
        Technology.KVM,
        "no /sys/module/kvm_amd/parameters/sev_snp",
    ),
    "tdx": (TDX, NEW, ALL, Technology.TDX, "kvm_intel.tdx is on"),
    "tdx, old QEMU": (TDX, OLD, (), Technology.KVM, "which is in 10.1 and later"),
    "kvm of another kind": (
        {"dev/kvm": "", "sys/module/kvm_pvm/parameters/x": ""},
        NEW,
        ALL,
        Technology.TCG,
        "no KVM (/dev/kvm is by kvm_pvm, which runs no ordinary kernel)",
    ),
    "kvm of no kind": ({"dev/kvm": ""}, NEW, ALL, Technology.TCG, "by no module that is known"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_best_that_is_there_is_chosen_and_why(tmp_path: Path, name: str) -> None:
    files, version, objects, technology, why = CHOICES[name]
    choice = choose(host(tmp_path, files, version, objects), None, has_firmware=True)
    assert choice.technology is technology
    assert why in choice.why


def test_without_firmware_no_confidential_machine_is_chosen(tmp_path: Path) -> None:
    choice = choose(host(tmp_path, SNP), None, has_firmware=False)
    assert choice.technology is Technology.KVM
    assert "but no --firmware that it could be started with" in choice.why


@pytest.mark.parametrize("technology", [Technology.SNP, Technology.TDX])
def test_what_is_named_and_not_there_is_refused_but_may_be_looked_at(
    tmp_path: Path, technology: Technology
) -> None:
    there = host(tmp_path, {})
    with pytest.raises(QemuError, match=f"--by {technology}: found no /"):
        choose(there, technology, has_firmware=True)
    shown = choose(there, technology, has_firmware=True, is_started=False)
    assert "this host could not start it" in shown.why


def test_kvm_may_be_tried_by_name(tmp_path: Path) -> None:
    assert choose(host(tmp_path, {}), Technology.KVM, has_firmware=False).technology is Technology.KVM


def test_a_qemu_that_does_not_say_its_version(tmp_path: Path) -> None:
    with pytest.raises(QemuError, match="as its version"):
        probe("qemu", tmp_path, lambda _: "hello")
