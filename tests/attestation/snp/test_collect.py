"""/dev/sev-guest, played by a driver of ours with the structures of the kernel's header."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from attestation.errors import CollectError
from attestation.snp import collect
from attestation.snp.collect import DEVICE, Extended, GuestRequestError
from tests.fakes.guest import FakeGuest, SevGuest

DATA = bytes(range(64))
TABLE = b"\1" * 24 + bytes(24) + b"certificates"
HEADER = Path("/usr/include/linux/sev-guest.h")
PROGRAM = """
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <linux/sev-guest.h>
int main(void)
{
    printf("%lu %lu %zu %zu %zu %zu %zu %zu\\n", (unsigned long)SNP_GET_REPORT, (unsigned long)SNP_GET_EXT_REPORT,
        sizeof(struct snp_guest_request_ioctl), offsetof(struct snp_guest_request_ioctl, exitinfo2),
        sizeof(struct snp_report_req), sizeof(struct snp_ext_report_req),
        offsetof(struct snp_ext_report_req, certs_len), sizeof(struct snp_report_resp));
    return 0;
}
"""


def ask(device: SevGuest, vmpl: int | None = None, pauses: list[float] | None = None) -> Extended:
    guest = FakeGuest(ioctls={DEVICE: device})
    try:
        return collect.extended_report(guest, DATA, vmpl)
    finally:
        if pauses is not None:
            pauses += guest.pauses


@pytest.mark.skipif(not HEADER.exists(), reason=f"no {HEADER} (linux-libc-dev)")
def test_numbers_and_sizes_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    (tmp_path / "layout.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-o", "layout", "layout.c"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout
    sizes = (collect._ENVELOPE.size, 24, collect._REQUEST.size, 96 + collect._POINTERS.size, 104, 4000)
    assert tuple(map(int, printed.split())) == (collect._GET_REPORT, collect._GET_EXT_REPORT, *sizes)


@pytest.mark.parametrize("vmpl", [None, 0, 3])
def test_report_is_bound_and_about_the_privilege_level(vmpl: int | None) -> None:
    found = ask(SevGuest(TABLE), vmpl)
    assert found.report[0x50:0x90] == DATA
    assert int.from_bytes(found.report[0x30:0x34], "little") == (vmpl or 0)
    assert found.certificates.rstrip(b"\0") == TABLE.rstrip(b"\0")


def test_report_alone_is_asked_for_by_its_own_request() -> None:
    device = SevGuest()
    assert collect.report(FakeGuest(ioctls={DEVICE: device}), DATA, None)[0x50:0x90] == DATA
    assert device.asked == [0xC0205300]


def test_host_without_certificates_gives_none() -> None:
    assert ask(SevGuest()).certificates == b""


def test_more_room_is_given_where_certificates_need_it() -> None:
    device = SevGuest(b"\1" * 20000, most=1 << 20)
    assert ask(device).certificates == b"\1" * 20000 + bytes(480)
    assert device.asked == [0xC0205302, 0xC0205302]


def test_without_certificates_where_the_kernel_takes_no_larger_buffer() -> None:
    device = SevGuest(b"\1" * 20000)
    found = ask(device)
    assert (found.report[0x50:0x90], found.certificates) == (DATA, b"")
    assert device.asked == [0xC0205302, 0xC0205302, 0xC0205300]


@pytest.mark.parametrize("refusal", [(errno.EIO, 0, 2), (errno.EAGAIN, 0, 2), (errno.EBUSY, 0xFF, 0)])
def test_busy_host_is_asked_again(refusal: tuple[int, int, int]) -> None:
    pauses: list[float] = []
    assert ask(SevGuest(refusals=[refusal] * 4), None, pauses).report
    assert pauses == [0.5, 1, 2, 4]


def test_host_that_stays_busy_is_an_error() -> None:
    with pytest.raises(GuestRequestError, match=r"host 0x2 \(the host is busy\)"):
        ask(SevGuest(refusals=[(errno.ETIMEDOUT, 0xFF, 2)] * 5))


REFUSALS = {
    (errno.EIO, 0x16, 0): r"EIO: the firmware or the host refused, firmware 0x16 \(INVALID_PARAM\)",
    (errno.EIO, 0x27, 0): r"firmware 0x27 \(INVALID_KEY\)",
    (errno.EIO, 0x99, 7): r"host 0x7 \(unknown\), firmware 0x99 \(unknown\)",
    (errno.EIO, 0, 1): r"host 0x1 \(the certificates need more room\)",
    (errno.EIO, 0xFF, 0): r"firmware 0xff \(the firmware was not asked\)",
    (errno.ENOTTY, 0xFF, 0): "ENOTTY: the driver gave up its key to the firmware",
    (errno.EBADMSG, 0, 0): "EBADMSG: the firmware's answer cannot be decrypted",
    (errno.ETIMEDOUT, 0, 0): "ETIMEDOUT: the host was busy for a minute",
    (errno.EACCES, 0, 0): "EACCES: only root may ask",
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_each_refusal_says_whose_and_why(refusal: tuple[int, int, int]) -> None:
    pauses: list[float] = []
    with pytest.raises(GuestRequestError, match=f"/dev/sev-guest: found .*{REFUSALS[refusal]}") as caught:
        ask(SevGuest(refusals=[refusal] * 5), None, pauses)
    assert (caught.value.number, caught.value.firmware, caught.value.host) == refusal
    assert pauses == []


@pytest.mark.parametrize(
    ("status", "name"), [(0x16, "INVALID_PARAM"), (0x27, "INVALID_KEY"), (0x55, "unknown")]
)
def test_status_of_the_firmwares_reply_is_told(status: int, name: str) -> None:
    with pytest.raises(CollectError, match=rf"reply: found status 0x{status:x} \({name}\)"):
        ask(SevGuest(status=status))


@pytest.mark.parametrize("size", [0, 3969, 1 << 31])
def test_report_of_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(CollectError, match=f"a report of {size} bytes"):
        ask(SevGuest(size=size))


def test_device_that_may_not_be_opened_says_so() -> None:
    guest = FakeGuest(ioctls={DEVICE: SevGuest()}, denied=frozenset({DEVICE}))
    with pytest.raises(CollectError, match="EACCES: only root may ask"):
        collect.extended_report(guest, DATA, None)
