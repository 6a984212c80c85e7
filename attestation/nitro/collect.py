"""How does an enclave get an attestation document from its Nitro Secure Module, /dev/nsm?"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping

import cbor2

from attestation import cose
from attestation.errors import CollectError
from attestation.guest import Guest, explained
from attestation.ioctl import address, read_write

DEVICE = "dev/nsm"
SOURCE = "include/uapi/linux/nsm.h, v6.12; AWS Nitro Enclaves, NSM API, src/api/mod.rs"
_RAW = struct.Struct("<QQQQ")  # struct nsm_raw: address and length of request and of response
_NSM_IOCTL_RAW = read_write(0x0A, 0, _RAW.size)
_LARGEST_RESPONSE = 0x3000
_MEANINGS: Mapping[int, str] = {
    errno.ENOENT: "no Nitro Secure Module: this is no enclave, or its kernel has no driver",
    errno.EMSGSIZE: "the request is too long",
    errno.ETIMEDOUT: "the module did not answer in two minutes",
    errno.ENODATA: "the module answered something else",
    errno.EACCES: "the device may not be opened",
    errno.EPERM: "the device may not be opened",
}


def document(
    guest: Guest, user_data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None
) -> bytes:
    """
    Return an attestation document, signed by the hypervisor.

    Args:
        guest: The enclave.
        user_data: What the document is to contain, at most 512 bytes.
        nonce: As well; at most 512 bytes.
        public_key: As well; at most 1024 bytes.

    Raises:
        CollectError: the kernel or the module refused, or the answer is none.
        EvidenceFormatError: the answer is no CBOR.

    Source:
        include/uapi/linux/nsm.h and drivers/misc/nsm.c, v6.12; AWS Nitro Enclaves, NSM API, src/api/mod.rs:
        Request::Attestation, Response.
    """
    values = {"user_data": user_data, "nonce": nonce, "public_key": public_key}
    request = bytearray(cbor2.dumps({"Attestation": values}))
    response = bytearray(_LARGEST_RESPONSE)
    argument = bytearray(_RAW.pack(address(request), len(request), address(response), len(response)))
    with explained(f"/{DEVICE}", _MEANINGS, SOURCE):
        guest.ioctl(DEVICE, _NSM_IOCTL_RAW, argument)
    *_, size = _RAW.unpack(argument)
    if not 0 < size <= len(response):
        raise CollectError(f"/{DEVICE} response", f"{size} bytes", f"1 to {len(response)} bytes", SOURCE)
    return _document(cose.cbor(bytes(response[:size]), "NSM response"))


def _document(response: object) -> bytes:
    members = response if isinstance(response, Mapping) else {}
    if "Error" in members:
        raise CollectError(f"/{DEVICE} response", str(members["Error"])[:60], "no error", SOURCE)
    attestation = members.get("Attestation")
    found = attestation.get("document") if isinstance(attestation, Mapping) else None
    if not isinstance(found, bytes) or not found:
        raise CollectError(f"/{DEVICE} response", repr(response)[:60], "an attestation document", SOURCE)
    return found
