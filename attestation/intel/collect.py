"""How does a trust domain report about itself by /dev/tdx_guest, where the kernel has no configfs-tsm?"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from attestation.errors import CollectError
from attestation.guest import Guest, explained
from attestation.intel import qgs
from attestation.ioctl import read_write

DEVICE = "dev/tdx_guest"
SOURCE = "include/uapi/linux/tdx-guest.h, v6.12"
_REPORT_DATA_SIZE, _REPORT_SIZE = 64, 1024
_GET_REPORT0 = read_write(ord("T"), 1, _REPORT_DATA_SIZE + _REPORT_SIZE)
_MEANINGS: Mapping[int, str] = {
    errno.EIO: "the TDX module refused",
    errno.EACCES: "only root may ask",
    errno.EPERM: "only root may ask",
}


def quote(guest: Guest, report_data: bytes) -> bytes:
    """
    Return a quote that holds `report_data`, 64 bytes, from the Quote Generation Service of the host.

    Raises:
        CollectError: the kernel or the service refused.
    """
    return qgs.quote(guest, td_report(guest, report_data))


def td_report(guest: Guest, report_data: bytes) -> bytes:
    """
    Return TDREPORT_STRUCT, 1024 bytes, which only the same machine can check.

    Raises:
        CollectError: the kernel refused.

    Source:
        include/uapi/linux/tdx-guest.h, v6.12: struct tdx_report_req.
    """
    argument = bytearray(report_data + bytes(_REPORT_SIZE))
    with explained(f"/{DEVICE}", _MEANINGS, SOURCE):
        guest.ioctl(DEVICE, _GET_REPORT0, argument)
    found = bytes(argument[_REPORT_DATA_SIZE:])
    if not any(found):
        raise CollectError(f"/{DEVICE}", "zeros", "TDREPORT_STRUCT", SOURCE)
    return found
