"""
A store in one file, for sites that no network reaches.

The file is a tar archive of plain files, sorted, without times and owners: equal stores give equal bytes.
What is read back must be byte for byte what is written here, so that no link, path, sparse file or second
spelling of anything is ever looked at.  Every endorsement in it is then checked as if it had just come.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping

from attestation.errors import EvidenceFormatError
from attestation.store import entry as entries
from attestation.store.entry import Entry, Kept
from attestation.store.store import LARGEST_OBJECT

LARGEST = 1 << 26
_MOST = 1 << 14
_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_NAME = re.compile(r"(index|objects)/([0-9a-f]{64})")
_WANT = "an archive as `shim fetch --export` writes it"


def dumps(kept: Iterable[Kept]) -> bytes:
    """
    Return the archive of some endorsements.

    Raises:
        EvidenceFormatError: it would be larger than 64 MiB, and could not be read.
    """
    members: dict[str, bytes] = {}
    for one in kept:
        members[f"index/{entries.name(one.url)}"] = entries.dumps(entries.of(one))
        for data in (one.answer.body, one.answer.issuers):
            if data:
                members[f"objects/{hashlib.sha256(data).hexdigest()}"] = data
    whole = b"".join(_member(name, members[name]) for name in sorted(members)) + _END
    if len(whole) > LARGEST or len(members) > _MOST:
        found = f"{len(members)} files, {len(whole)} bytes"
        raise EvidenceFormatError("archive", "", found, f"at most {_MOST} files, {LARGEST} bytes")
    return whole


def loads(data: bytes) -> tuple[Kept, ...]:
    """
    Return what is in an archive.

    Raises:
        EvidenceFormatError: it is not byte for byte what `dumps` returns for something.

    Not checked:
        That any of it is right.
    """
    if len(data) > LARGEST:
        raise EvidenceFormatError("archive", "", f"{len(data)} bytes", f"at most {LARGEST} bytes")
    members = dict(_members(data))
    found = [entries.loads(contents) for name, contents in members.items() if name.startswith("index/")]
    kept = tuple(_kept(one, members) for one in found)
    if dumps(kept) != data:
        raise EvidenceFormatError("archive", "", "something besides plain files that entries name", _WANT)
    return kept


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _member(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + bytes(-len(data) % _BLOCK)


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    at, count = 0, 0
    while data[at : at + _BLOCK] != bytes(_BLOCK):
        header = data[at : at + _BLOCK]
        name, size = _read_header(header)
        begin = at + _BLOCK
        at = begin + size + -size % _BLOCK
        count += 1
        if at > len(data) or count > _MOST:
            raise EvidenceFormatError("archive", name, "an end before its contents, or too many files", _WANT)
        yield name, data[begin : begin + size]


def _read_header(header: bytes) -> tuple[str, int]:
    """Return name and size of the file that follows."""
    try:
        info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise EvidenceFormatError("archive", "header", str(error), _WANT) from error
    if not _NAME.fullmatch(info.name) or not 0 <= info.size <= LARGEST_OBJECT:
        found = f"{info.name[:200]!r} of {info.size} bytes"
        raise EvidenceFormatError("archive", "header", found, f"{_WANT}, of at most {LARGEST_OBJECT} bytes")
    return info.name, info.size


def _kept(entry: Entry, members: Mapping[str, bytes]) -> Kept:
    for digest in entry.digests:
        contents = members.get(f"objects/{digest}")
        if contents is None:
            raise EvidenceFormatError("archive", f"objects/{digest}", "nothing", f"what {entry.url} names")
    return entry.kept([members[f"objects/{digest}"] for digest in entry.digests])
