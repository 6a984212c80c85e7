"""
How does /dev/sev-guest give a report, where the kernel has no configfs-tsm?

The structures are those of the kernel; the reply of the firmware has a header before the report.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from attestation.errors import CollectError, KernelError
from attestation.guest import Guest, explained
from attestation.ioctl import address, read_write
from attestation.patience import patiently
from attestation.snp.certificate_table import SMALLEST

DEVICE = "dev/sev-guest"
SOURCE = "include/uapi/linux/sev-guest.h, v6.12"
_REPLY_SOURCE = 'AMD 56860, revision 1.58, section 7.3, "Attestation", MSG_REPORT_RSP'
_REQUEST = struct.Struct("<64sI28x")  # snp_report_req: user_data, vmpl
_POINTERS = struct.Struct("<QI4x")  # snp_ext_report_req behind it: certs_address, certs_len
_ENVELOPE = struct.Struct("<B7xQQII")  # snp_guest_request_ioctl: the two halves of exitinfo2 at its end
_REPLY = struct.Struct("<II24x")  # status, report_size
_REPLY_SIZE = 4000
_GET_REPORT = read_write(ord("S"), 0, _ENVELOPE.size)
_GET_EXT_REPORT = read_write(ord("S"), 2, _ENVELOPE.size)
_VERSION = 1
_PAGE = 4096
_CERTIFICATES = 4 * _PAGE  # SEV_FW_BLOB_MAX_SIZE of the kernel
_MOST_CERTIFICATES = 1 << 20
_VMM_ERRORS: Mapping[int, str] = {1: "the certificates need more room", 2: "the host is busy"}
_VMM_INVALID_LEN, _VMM_BUSY = 1, 2
_TRY_AGAIN = frozenset({errno.EBUSY, errno.EAGAIN, errno.EINTR})
_NOT_EXTENDED = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
# include/uapi/linux/psp-sev.h, v6.12, sev_ret_code; what the driver sets before it asks is 0xff.
_FIRMWARE_ERRORS: Mapping[int, str] = {
    0x01: "INVALID_PLATFORM_STATE",
    0x02: "INVALID_GUEST_STATE",
    0x03: "INVALID_CONFIG",
    0x04: "INVALID_LEN",
    0x07: "POLICY_FAILURE",
    0x08: "INACTIVE",
    0x09: "INVALID_ADDRESS",
    0x10: "INVALID_GUEST",
    0x11: "INVALID_COMMAND",
    0x13: "HWERROR_PLATFORM",
    0x14: "HWERROR_UNSAFE",
    0x15: "UNSUPPORTED",
    0x16: "INVALID_PARAM",
    0x17: "RESOURCE_LIMIT",
    0x18: "SECURE_DATA_INVALID",
    0x27: "INVALID_KEY",
    0xFF: "the firmware was not asked",
    0xFFFFFFFF: "the firmware was not asked",
}
_MEANINGS: Mapping[int, str] = {
    errno.EACCES: "only root may ask",
    errno.EPERM: "only root may ask",
    errno.EINVAL: "the driver does not accept the request",
    errno.EIO: "the firmware or the host refused",
    errno.ETIMEDOUT: "the host was busy for a minute",
    errno.ENOTTY: "the driver gave up its key to the firmware after an earlier error",
    errno.EBADMSG: "the firmware's answer cannot be decrypted",
}


class GuestRequestError(KernelError):
    """
    A request to the firmware that failed.

    Attributes:
        firmware: The firmware's error, 0 for none.
        host: The error of the virtual machine monitor, 0 for none.
    """

    def __init__(self, error: KernelError, firmware: int, host: int) -> None:
        self.firmware = firmware
        self.host = host
        details = []
        if host:
            details.append(f"host 0x{host:x} ({_VMM_ERRORS.get(host, 'unknown')})")
        if firmware:
            details.append(f"firmware 0x{firmware:x} ({_FIRMWARE_ERRORS.get(firmware, 'unknown')})")
        found = ", ".join([error.found, *details])
        super().__init__(error.where, found, error.want, error.source, number=error.number)


@dataclass(frozen=True, slots=True)
class Extended:
    """A report, and the certificate table that the host adds; empty where it adds none."""

    report: bytes
    certificates: bytes


def extended_report(guest: Guest, report_data: bytes, vmpl: int | None) -> Extended:
    """
    Return a report, and the host's certificates if it has any and they fit.

    Args:
        guest: The machine.
        report_data: 64 bytes.
        vmpl: The privilege level that the report is to be about; None for 0.

    Raises:
        CollectError: the kernel, the host or the firmware refused, after some attempts where that may help.

    Source:
        include/uapi/linux/sev-guest.h and drivers/virt/coco/sev-guest/sev-guest.c, v6.12.
    """
    request = _REQUEST.pack(report_data, vmpl or 0)
    size = _CERTIFICATES
    try:
        try:
            return _extended(guest, request, size)
        except _TooSmallError as error:
            return _extended(guest, request, error.size)
    except KernelError as error:
        if not isinstance(error, _TooSmallError) and error.number not in _NOT_EXTENDED:
            raise
        return Extended(report(guest, report_data, vmpl), b"")


def report(guest: Guest, report_data: bytes, vmpl: int | None) -> bytes:
    """
    Return a report alone.

    Raises:
        CollectError: as for `extended_report`.
    """
    request = bytearray(_REQUEST.pack(report_data, vmpl or 0))
    return patiently(lambda: _ask(guest, _GET_REPORT, request), _passes, guest.pause)


class _TooSmallError(KernelError):
    """The certificates need `size` bytes."""

    def __init__(self, error: GuestRequestError, size: int) -> None:
        self.size = size
        super().__init__(error.where, error.found, error.want, error.source, number=error.number)


def _extended(guest: Guest, request: bytes, size: int) -> Extended:
    certificates = bytearray(size)
    argument = bytearray(request + _POINTERS.pack(address(certificates), size))
    try:
        found = patiently(lambda: _ask(guest, _GET_EXT_REPORT, argument), _passes, guest.pause)
    except GuestRequestError as error:
        _, needed = _POINTERS.unpack_from(argument, _REQUEST.size)
        if error.host != _VMM_INVALID_LEN or not size < needed <= _MOST_CERTIFICATES:
            raise
        raise _TooSmallError(error, needed) from error
    return Extended(found, _table(bytes(certificates)))


def _ask(guest: Guest, number: int, request: bytearray) -> bytes:
    """Send one request, and return the report that the firmware's reply holds."""
    reply = bytearray(_REPLY_SIZE)
    envelope = bytearray(_ENVELOPE.pack(_VERSION, address(request), address(reply), 0, 0))
    try:
        with explained(f"/{DEVICE}", _MEANINGS, SOURCE):
            guest.ioctl(DEVICE, number, envelope)
    except KernelError as error:
        *_, firmware, host = _ENVELOPE.unpack(envelope)
        raise GuestRequestError(error, firmware, host) from error
    status, size = _REPLY.unpack_from(reply)
    if status:
        found = f"status 0x{status:x} ({_FIRMWARE_ERRORS.get(status, 'unknown')})"
        raise CollectError(f"/{DEVICE} reply", found, "0", _REPLY_SOURCE)
    if not 0 < size <= _REPLY_SIZE - _REPLY.size:
        found, want = f"a report of {size} bytes", f"1 to {_REPLY_SIZE - _REPLY.size} bytes"
        raise CollectError(f"/{DEVICE} reply", found, want, _REPLY_SOURCE)
    return bytes(reply[_REPLY.size : _REPLY.size + size])


def _passes(error: CollectError) -> bool:
    return isinstance(error, GuestRequestError) and (error.host == _VMM_BUSY or error.number in _TRY_AGAIN)


def _table(certificates: bytes) -> bytes:
    """Return the table without the zeros that fill up its pages; nothing where the host gave none."""
    return b"" if not any(certificates[:SMALLEST]) else certificates
