"""
What do TCB info and enclave identity say?

Values only: which level a platform has is the question of `tcb`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from attestation.errors import EvidenceFormatError
from attestation.json_document import JsonObject

SOURCE = 'Intel SGX and TDX Provisioning Certification Service, API version 4, "Get TCB Info"'
_MAXIMUM_SVN = 0xFFFF
_MAXIMUM_EVALUATION = 1 << 31


class TcbStatus(Enum):
    """What Intel says of a level of the TCB, best first."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


@dataclass(frozen=True, slots=True)
class Level:
    """
    One level of a TCB.

    Attributes:
        components: At least these security versions: 16 of a platform, or the one of an enclave or module.
        tdx_components: Of the TDX module and what loads it, 16, in TCB info for TDX; else none.
        pce_svn: Of the provisioning certification enclave; 0 where that does not count.
        date: Security issues up to this day are dealt with.
        status: What Intel says of it.
        advisories: Ids of the advisories that are not dealt with.
    """

    components: tuple[int, ...]
    tdx_components: tuple[int, ...]
    pce_svn: int
    date: datetime
    status: TcbStatus
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleIdentity:
    """A TDX module: who signed it, its attributes as far as the mask goes, and its levels (none of 1.0)."""

    id: str
    mr_signer: bytes
    attributes: bytes
    attributes_mask: bytes
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """
    What Intel says of one family of platforms.

    Attributes:
        id: "SGX" or "TDX".
        fmspc, pce_id: Which family, 6 and 2 bytes.
        evaluation: The number of the TCB recovery that it takes into account.
        module: The TDX module of version 1.0; None in TCB info for SGX.
        modules: Later ones.
        levels: Newest first.
    """

    id: str
    issued: datetime
    next_update: datetime
    fmspc: bytes
    pce_id: bytes
    evaluation: int
    module: ModuleIdentity | None
    modules: tuple[ModuleIdentity, ...]
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class EnclaveIdentity:
    """
    What Intel says of one of its enclaves.

    Attributes:
        id: "QE" for SGX, "TD_QE" for TDX.
        misc_select, misc_select_mask: As numbers.
        attributes, attributes_mask: 16 bytes.
    """

    id: str
    issued: datetime
    next_update: datetime
    evaluation: int
    misc_select: int
    misc_select_mask: int
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[Level, ...]


def read(document: JsonObject) -> TcbInfo | EnclaveIdentity:
    """
    Return what a document says.

    Raises:
        EvidenceFormatError: it is neither TCB info of version 3 nor an enclave identity of version 2.

    Source:
        Intel SGX and TDX Provisioning Certification Service, API version 4, "Get TCB Info" and "Get Quoting
        Enclave Identity".
    """
    identifier = document.text("id")
    if identifier in {"SGX", "TDX"}:
        return _tcb_info(JsonObject(document.members, "tcbInfo"))
    if identifier in {"QE", "TD_QE"}:
        return _enclave_identity(JsonObject(document.members, "enclaveIdentity"))
    raise EvidenceFormatError("collateral", "id", repr(identifier), "SGX, TDX, QE or TD_QE", SOURCE)


def _tcb_info(document: JsonObject) -> TcbInfo:
    _version(document, 3)
    if document.number("tcbType", 0xFFFF) != 0:
        raise document.wrong("tcbType", document.members["tcbType"], "0")
    identifier = document.text("id")
    is_tdx = identifier == "TDX"
    return TcbInfo(
        id=identifier,
        issued=document.time("issueDate"),
        next_update=document.time("nextUpdate"),
        fmspc=document.octets("fmspc", 6),
        pce_id=document.octets("pceId", 2),
        evaluation=document.number("tcbEvaluationDataNumber", _MAXIMUM_EVALUATION),
        module=_module(document.part("tdxModule"), "TDX_00") if is_tdx else None,
        modules=tuple(
            _module(part, part.text("id").upper())
            for part in (document.parts("tdxModuleIdentities") if "tdxModuleIdentities" in document else ())
        ),
        levels=tuple(_platform_levels(document, is_tdx=is_tdx)),
    )


def _version(document: JsonObject, want: int) -> None:
    version = document.number("version", 0xFFFF)
    if version != want:
        raise document.wrong("version", version, str(want))


def _module(part: JsonObject, identifier: str) -> ModuleIdentity:
    return ModuleIdentity(
        identifier,
        part.octets("mrsigner", 48),
        part.octets("attributes", 8),
        part.octets("attributesMask", 8),
        tuple(_enclave_levels(part)) if "tcbLevels" in part else (),
    )


def _platform_levels(document: JsonObject, *, is_tdx: bool) -> Iterator[Level]:
    for part in document.parts("tcbLevels"):
        tcb = part.part("tcb")
        tdx = _svns(tcb, "tdxtcbcomponents") if is_tdx else ()
        yield _level(part, _svns(tcb, "sgxtcbcomponents"), tdx, tcb.number("pcesvn", _MAXIMUM_SVN))


def _enclave_levels(document: JsonObject) -> Iterator[Level]:
    for part in document.parts("tcbLevels"):
        yield _level(part, (part.part("tcb").number("isvsvn", _MAXIMUM_SVN),), (), 0)


def _svns(tcb: JsonObject, name: str) -> tuple[int, ...]:
    found = tcb.array(name)
    svns = [one.get("svn", -1) if isinstance(one, dict) else -1 for one in found]
    if len(svns) != 16 or not all(type(svn) is int and 0 <= svn <= 255 for svn in svns):
        raise tcb.wrong(name, found, "16 components, each with a svn of 0 to 255")
    return tuple(svns)


def _level(part: JsonObject, components: tuple[int, ...], tdx: tuple[int, ...], pce_svn: int) -> Level:
    status = part.text("tcbStatus")
    known = {one.value: one for one in TcbStatus}
    if status not in known:
        raise part.wrong("tcbStatus", status, ", ".join(known))
    return Level(components, tdx, pce_svn, part.time("tcbDate"), known[status], part.texts("advisoryIDs"))


def _enclave_identity(document: JsonObject) -> EnclaveIdentity:
    _version(document, 2)
    return EnclaveIdentity(
        id=document.text("id"),
        issued=document.time("issueDate"),
        next_update=document.time("nextUpdate"),
        evaluation=document.number("tcbEvaluationDataNumber", _MAXIMUM_EVALUATION),
        misc_select=int.from_bytes(document.octets("miscselect", 4), "little"),
        misc_select_mask=int.from_bytes(document.octets("miscselectMask", 4), "little"),
        attributes=document.octets("attributes", 16),
        attributes_mask=document.octets("attributesMask", 16),
        mr_signer=document.octets("mrsigner", 32),
        isv_prod_id=document.number("isvprodid", 0xFFFF),
        levels=tuple(_enclave_levels(document)),
    )
