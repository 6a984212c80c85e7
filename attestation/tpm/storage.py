"""What do the indices of a TPM's lasting memory hold?  Read and written as the owner, without password."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from attestation.errors import CollectError
from attestation.tpm.command import BAD_HANDLE, SOURCE, Tpm, TpmError, sized, taken

_NV_READ_PUBLIC, _NV_READ, _NV_WRITE, _NV_DEFINE_SPACE = 0x169, 0x14E, 0x137, 0x12A
_OWNER = 0x40000001
_SHA256 = 0x000B
# TPMA_NV_OWNERWRITE, OWNERREAD, AUTHREAD: part 2, section 13.4, "TPMA_NV".
_ATTRIBUTES = 1 << 1 | 1 << 17 | 1 << 18
_CHUNK = 512  # what every TPM of a PC can return at once
_LARGEST = 1 << 16
_PUBLIC = struct.Struct(">IHI")  # nvIndex, nameAlg, attributes


@dataclass(frozen=True, slots=True)
class Index:
    """An index that exists: its number, and its size in bytes."""

    number: int
    size: int


def find(tpm: Tpm, number: int) -> Index | None:
    """
    Return an index, or None where there is none of that number.

    Raises:
        TpmError, EvidenceFormatError: the TPM refused, or answered something else.

    Source:
        TCG TPM 2.0 Library, part 3, revision 1.59, section 31.6, "TPM2_NV_ReadPublic"; part 2, section 13.5,
        "TPMS_NV_PUBLIC".
    """
    try:
        reader = tpm.run("TPM2_NV_ReadPublic", _NV_READ_PUBLIC, b"", handles=(number,))
    except TpmError as error:
        if error.code == BAD_HANDLE:
            return None
        raise
    public = reader.part(reader.number(2, "size of nvPublic"), "nvPublic")
    taken(reader, "nvName")
    reader.end("nvName")
    found, _, _ = _PUBLIC.unpack(public.take(_PUBLIC.size, "nvPublic"))
    taken(public, "authPolicy")
    size = public.number(2, "dataSize")
    public.end("dataSize")
    if found != number:
        raise public.wrong("nvIndex", f"0x{found:08x}", f"0x{number:08x}")
    return Index(number, size)


def read(tpm: Tpm, index: Index) -> bytes:
    """
    Return the whole contents of an index.

    Raises:
        TpmError, EvidenceFormatError: the TPM refused, or answered something else.

    Source:
        TCG TPM 2.0 Library, part 3, revision 1.59, section 31.13, "TPM2_NV_Read".
    """
    data = b""
    while len(data) < index.size:
        size = min(_CHUNK, index.size - len(data))
        reader = tpm.authorized(
            "TPM2_NV_Read", _NV_READ, struct.pack(">HH", size, len(data)), handles=(_OWNER, index.number)
        )
        part = taken(reader, "data")
        reader.end("data")
        if len(part) != size:
            raise reader.wrong("data", f"{len(part)} bytes", f"{size} bytes")
        data += part
    return data


def write(tpm: Tpm, number: int, data: bytes) -> None:
    """
    Write `data` to the beginning of an index; where there is none it is made.

    Raises:
        CollectError: the index is too small.
        TpmError, EvidenceFormatError: the TPM refused, or answered something else.

    Source:
        TCG TPM 2.0 Library, part 3, revision 1.59, section 31.3, "TPM2_NV_DefineSpace", and 31.7,
        "TPM2_NV_Write".
    """
    index = find(tpm, number)
    if index is None:
        public = _PUBLIC.pack(number, _SHA256, _ATTRIBUTES) + sized(b"") + struct.pack(">H", len(data))
        made = tpm.authorized(
            "TPM2_NV_DefineSpace", _NV_DEFINE_SPACE, sized(b"") + sized(public), handles=(_OWNER,)
        )
        made.end("")
    elif index.size < len(data):
        want = f"at least {len(data)} bytes"
        raise CollectError(f"TPM index 0x{number:08x}", f"{index.size} bytes", want, SOURCE)
    parameters = sized(data) + struct.pack(">H", 0)
    tpm.authorized("TPM2_NV_Write", _NV_WRITE, parameters, handles=(_OWNER, number)).end("")
