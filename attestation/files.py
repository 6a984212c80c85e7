"""
How are evidence and endorsements read from files, without trusting their size?

The only file access of a verifier; everything else takes bytes.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from attestation import endorsements, eventlog, json_document
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError, PolicyError, PolicyProblem

MAXIMUM_SIZE = 1 << 20
SUFFIXES = frozenset(
    {
        ".pem",
        ".der",
        ".crt",
        ".cer",
        ".cert",
        ".crl",
        ".ocsp",
        ".ors",
        ".resp",
        ".table",
        ".json",
        ".swidtag",
        ".xml",
    }
)
# Objects that are evidence, or a part of it, by members that no endorsement has together.
_EVIDENCE = (
    frozenset({"hcl_report", "tpm_quote"}),
    frozenset({"message", "signature", "pcrs"}),
    frozenset({"quote", "signature", "pcrs"}),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What files and directories hold; `left` is what lies in a directory and is no endorsement, in order."""

    endorsements: Endorsements
    left: tuple[Path, ...]


def read_limited(path: Path, what: str, limit: int = MAXIMUM_SIZE) -> bytes:
    """
    Return the contents of a file of at most `limit` bytes.

    The size is looked at before a byte is read, and never more than one byte above the limit is read, also
    from pipes and files that grow.

    Raises:
        EvidenceFormatError: the file is larger, or it is no file that can be read.
    """
    where = f"{what} {path}"
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size > limit:
            raise EvidenceFormatError(where, "", f"{status.st_size} bytes", f"at most {limit} bytes")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise EvidenceFormatError(where, "", str(error.strerror), "a file that can be read") from error
    except ValueError as error:  # a policy may name anything
        raise EvidenceFormatError(where, "", str(error), "the name of a file") from error
    if len(data) > limit:
        raise EvidenceFormatError(where, "", f"more than {limit} bytes", f"at most {limit} bytes")
    return data


def read_evidence(path: Path) -> bytes:
    """
    Return the evidence in a file, or in a directory of parts, which together become one JSON object.

    The parts are those of `attestation.azure.evidence`: `hcl_report.bin`, `tpm_quote.json`, and
    `td_quote.bin` where there is one; or those of `attestation.tpm.evidence`: `quote.msg`, `quote.sig`,
    `quote.pcrs`, `ak.pub`, and where there are any `ak.crt`, and `ek.pub` with `ek.crt`.

    Raises:
        EvidenceFormatError: a file is too large or cannot be read, or a part is no JSON.
    """
    if not path.is_dir():
        return read_limited(path, "evidence")
    if (path / "quote.msg").exists():
        return _parts_of_tpm(path)
    if not (path / "hcl_report.bin").exists() and not (path / "tpm_quote.json").exists():
        want = "hcl_report.bin and tpm_quote.json of Azure, or quote.msg and the others of a TPM"
        raise EvidenceFormatError(f"evidence {path}", "", "a directory without parts of evidence", want)
    quote = json_document.read(
        read_limited(path / "tpm_quote.json", "evidence"), str(path / "tpm_quote.json")
    )
    parts: dict[str, object] = {
        "hcl_report": read_limited(path / "hcl_report.bin", "evidence").hex(),
        "tpm_quote": quote.members,
    }
    if (path / "td_quote.bin").exists():
        parts["td_quote"] = read_limited(path / "td_quote.bin", "evidence").hex()
    return json.dumps(parts).encode()


def _parts_of_tpm(path: Path) -> bytes:
    """The names are those that tpm2_quote and tpm2_createak are usually given."""
    names = {"quote": "quote.msg", "signature": "quote.sig", "pcrs": "quote.pcrs", "ak_public": "ak.pub"}
    more = {"ak_certificates": "ak.crt", "ek_public": "ek.pub", "ek_certificate": "ek.crt"}
    names |= {part: name for part, name in more.items() if (path / name).exists()}
    return json.dumps(
        {part: read_limited(path / name, "evidence").hex() for part, name in names.items()}
    ).encode()


def read_event_log(path: Path) -> bytes:
    """
    Return the contents of an event log.

    Raises:
        EvidenceFormatError: the file is too large or cannot be read.
    """
    return read_limited(path, "event log", eventlog.MAXIMUM_SIZE)


def read_endorsements(paths: Iterable[Path]) -> Endorsements:
    """
    Return the certificates, revocation lists, OCSP responses and everything else in files and directories.

    Raises:
        EvidenceFormatError: as `find_endorsements`, which also tells what was left.
    """
    return find_endorsements(paths).endorsements


def find_endorsements(paths: Iterable[Path]) -> Found:
    """
    Return what is in files and directories, and what lies in a directory and is no endorsement.

    Of a directory, the files directly inside with one of `SUFFIXES` are read; parts of evidence are left.

    Raises:
        EvidenceFormatError: a file is too large, or holds something else; the name is in the error.
    """
    found, left = [], []
    for path in paths:
        for file in _inside(path) if path.is_dir() else [path]:
            if file is not path and (file.suffix.lower() not in SUFFIXES or not file.is_file()):
                left.append(file)
                continue
            data = read_limited(file, "endorsements")
            if file is not path and _is_evidence(data):
                left.append(file)
                continue
            found.append(endorsements.parse(data, str(file)))
    return Found(endorsements.union(found), tuple(left))


def _inside(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError as error:
        where = f"endorsements {directory}"
        raise EvidenceFormatError(where, "", str(error.strerror), "a directory that can be read") from error


def _is_evidence(data: bytes) -> bool:
    """Whether this is an object that is evidence, or one of the parts of a directory of evidence."""
    if data.lstrip()[:1] != b"{":
        return False
    try:
        members = json_document.read(data, "").members.keys()
    except EvidenceFormatError:
        return False
    return any(members >= parts for parts in _EVIDENCE)


def read_policy(path: Path) -> str:
    """
    Return the text of a policy file.

    Raises:
        PolicyError: too large, unreadable, or not UTF-8.
    """
    try:
        return read_limited(path, "policy").decode("utf-8")
    except EvidenceFormatError as error:
        problem = PolicyProblem(1, "file", error.found, error.want)
        raise PolicyError(str(path), (problem,)) from error
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at {error.start}"
        raise PolicyError(str(path), (PolicyProblem(1, "file", found, "UTF-8 text"),)) from error
