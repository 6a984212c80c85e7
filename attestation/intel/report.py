"""
What do the bytes say that a quote signs: the report of an enclave, or of a trust domain?

Layout only: nothing here knows whether anybody signed them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SGX_SOURCE = "Intel SGX DCAP ECDSA Quote Library API, rev. 0.9, appendix A.4, Enclave Report Body"
TDX_SOURCE = 'Intel TDX DCAP Quoting Library API, rev. 0.9, appendix A.3.2, "TD Report Body"'
ENCLAVE_SIZE = 384
TD_1_0_SIZE = 584
TD_1_5_SIZE = 648

_ENCLAVE = struct.Struct("<16sI12x16s16s32s32x32s32x64sHHH42x16s64s")
_TD_1_0 = struct.Struct("<16s48s48s8s8s8s48s48s48s48s48s48s48s48s64s")
_TD_1_5 = struct.Struct("<16s48s")

# TD attributes, bit by bit.  Bits 0 to 7 are the group TUD: each makes the domain debuggable or will.
TUD_BITS = 0xFF
DEBUG_BIT = 1 << 0
ENCLAVE_DEBUG_BIT = 1 << 1


@dataclass(frozen=True, slots=True)
class EnclaveReport:
    """
    The report of an enclave; every attribute is the field of the same name, bytes as they stand.

    Attributes:
        attributes: 16 bytes: 8 of flags, 8 of XFRM.
    """

    raw: bytes
    cpu_svn: bytes
    misc_select: int
    isv_ext_prod_id: bytes
    attributes: bytes
    mr_enclave: bytes
    mr_signer: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    config_svn: int
    isv_family_id: bytes
    report_data: bytes

    @property
    def debug(self) -> bool:
        """Whether the enclave can be debugged."""
        return bool(self.attributes[0] & ENCLAVE_DEBUG_BIT)


@dataclass(frozen=True, slots=True)
class TdReport:
    """
    The report of a trust domain; every attribute is the field of the same name, bytes as they stand.

    Attributes:
        seam_attributes, td_attributes, xfam: 8 bytes, little-endian.
        rtmrs: The four run-time measurement registers, 48 bytes each.
        tee_tcb_svn2, mr_service_td: Of TDX 1.5, else None.
    """

    raw: bytes
    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    tee_tcb_svn2: bytes | None
    mr_service_td: bytes | None

    @property
    def attributes(self) -> int:
        """TD attributes as a number."""
        return int.from_bytes(self.td_attributes, "little")

    @property
    def debug(self) -> bool:
        """Whether the domain can be debugged, or has another bit of the group that says so in the future."""
        return bool(self.attributes & TUD_BITS)


def enclave_report(raw: bytes) -> EnclaveReport:
    """
    Return what the 384 bytes of an enclave's report say.

    Not checked:
        Reserved bytes: the quoting enclave signs them as they are, and later ones use some.
    """
    return EnclaveReport(raw, *_ENCLAVE.unpack(raw))


def td_report(raw: bytes) -> TdReport:
    """Return what the 584 bytes of a report of TDX 1.0, or the 648 of TDX 1.5, say."""
    svn, seam, signer, seam_attributes, attributes, xfam, td, config, owner, owner_config, *rest = (
        _TD_1_0.unpack_from(raw)
    )
    rtmr0, rtmr1, rtmr2, rtmr3, data = rest
    svn2, service = (None, None) if len(raw) == TD_1_0_SIZE else _TD_1_5.unpack_from(raw, TD_1_0_SIZE)
    return TdReport(
        raw=raw,
        tee_tcb_svn=svn,
        mr_seam=seam,
        mr_signer_seam=signer,
        seam_attributes=seam_attributes,
        td_attributes=attributes,
        xfam=xfam,
        mr_td=td,
        mr_config_id=config,
        mr_owner=owner,
        mr_owner_config=owner_config,
        rtmrs=(rtmr0, rtmr1, rtmr2, rtmr3),
        report_data=data,
        tee_tcb_svn2=svn2,
        mr_service_td=service,
    )
