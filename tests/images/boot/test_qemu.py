"""QEMU's command line, part by part: what stands in it, and that QEMU takes what can be taken here."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest

from images.boot import qemu
from images.boot.choice import Technology

RESOURCES = qemu.Resources(2, 1024)


def values(part: qemu.Part, option: str) -> list[str]:
    return [part[at + 1] for at, word in enumerate(part) if word == option]


def test_an_snp_guest_has_kernel_hashes_and_no_debugging() -> None:
    part = qemu.snp(RESOURCES, "EPYC-Milan")
    assert values(part, "-machine") == ["q35,confidential-guest-support=sev0,memory-backend=ram0,vmport=off"]
    guest, memory = values(part, "-object")
    assert guest == ("sev-snp-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=0x30000,kernel-hashes=on")
    assert memory == "memory-backend-memfd,id=ram0,size=1024M,share=true"
    assert (values(part, "-accel"), values(part, "-cpu"), values(part, "-smp")) == (
        ["kvm"],
        ["EPYC-Milan"],
        ["2"],
    )
    assert not 0x30000 & 1 << 19


@pytest.mark.parametrize("has_author_key", [True, False])
def test_an_id_block_goes_in_base64(has_author_key: bool) -> None:  # noqa: FBT001
    identity = qemu.Identity(b"b" * 96, b"a" * 4096, has_author_key)
    guest = values(qemu.snp(RESOURCES, "EPYC-Milan", identity), "-object")[0]
    told = dict(pair.split("=", 1) for pair in guest.split(",")[1:])
    assert base64.b64decode(told["id-block"]) == b"b" * 96
    assert base64.b64decode(told["id-auth"]) == b"a" * 4096
    assert told.get("author-key-enabled") == ("on" if has_author_key else None)


def test_a_trust_domain_has_a_split_interrupt_controller() -> None:
    part = qemu.tdx(RESOURCES)
    assert values(part, "-machine") == ["q35,kernel-irqchip=split,confidential-guest-support=tdx0"]
    assert values(part, "-object") == ["tdx-guest,id=tdx0"]


def test_nothing_is_there_that_is_not_named() -> None:
    for part in (qemu.plain(Technology.TCG, RESOURCES), qemu.snp(RESOURCES, "EPYC"), qemu.tdx(RESOURCES)):
        assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(part)


def test_commas_in_names_stay_in_them() -> None:
    assert "file=a,,b" in qemu.disk("a,b")[1]
    assert qemu.ports([("a,b", 7)])[-1].endswith("name=a,,b")
    assert qemu.ports([]) == ()


def test_qemu_takes_what_can_be_taken_here() -> None:
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        pytest.skip("no qemu-system-x86_64 (apt install qemu-system-x86)")
    parts = [qemu.plain(Technology.TCG, qemu.Resources(1, 64)), qemu.network(["tcp:127.0.0.1:0-:80"])]
    command = [*qemu.command(program, parts), "-S", "-monitor", "stdio"]
    done = subprocess.run(command, input=b"quit\n", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
