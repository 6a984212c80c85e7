"""
How does one talk to configfs-tsm?

One request is one directory: making it makes the kernel put attributes in, removing it ends the request.  The
kernel counts every write to a request in `generation`, so that whoever reads an answer can tell whether it is
the answer to what they wrote.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from attestation.errors import CollectError, KernelError
from attestation.guest import Guest, explained
from attestation.patience import patiently

REPORTS = "sys/kernel/config/tsm/report"
PROVIDERS: Mapping[str, str] = {"sev_guest": "snp", "tdx_guest": "tdx", "arm_cca_guest": "cca"}
SOURCE = "Documentation/ABI/testing/configfs-tsm-report, v6.12"
_LARGEST = 1 << 24
_LARGEST_TEXT = 4096
_HIGHEST_PRIVILEGE_LEVEL = 3
_ROUNDS = 3
_MEANINGS: Mapping[int, str] = {
    errno.EBUSY: "the host is throttling requests, or still has an earlier one",
    errno.EWOULDBLOCK: "another process wrote to the request",
    errno.ETIMEDOUT: "the host did not answer in time",
    errno.EINTR: "interrupted while the host was asked",
    errno.EINVAL: "nothing was written before reading, or the value is not accepted",
    errno.EFBIG: "the blob is larger than the kernel allows",
    errno.ENXIO: "no driver of a trusted execution environment stands behind configfs-tsm",
    errno.EIO: "the firmware or the host refused",
    errno.ENOTTY: "the driver gave up its key to the firmware after an earlier error",
    errno.EACCES: "only root may ask",
    errno.EPERM: "only root may ask",
    errno.EEXIST: "a request of this name exists",
}
_TRY_AGAIN = frozenset({errno.EBUSY, errno.EWOULDBLOCK, errno.ETIMEDOUT, errno.EINTR})
_UNUSABLE: Mapping[int, str] = {
    **_MEANINGS,
    errno.ENOENT: "no configfs-tsm (Linux 6.7, CONFIG_TSM_REPORTS), or configfs is not mounted",
}
_UNAVAILABLE = frozenset({errno.ENOENT, errno.ENXIO, errno.EACCES, errno.EPERM})


class UnavailableError(KernelError):
    """No request can be made: there is nothing to ask, or it may not be asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The answer to one request; every attribute is the blob of the same name, empty where there is none.

    Attributes:
        outblob: The report, in the format of the provider.
        auxblob: Of sev_guest, the certificate table that the host adds.
        manifestblob: The manifest of a service module.
    """

    outblob: bytes
    auxblob: bytes
    manifestblob: bytes


def provider(guest: Guest, entry: str) -> str:
    """
    Return the name of the driver behind configfs-tsm.

    Raises:
        UnavailableError: ENOENT where the kernel has no configfs-tsm, ENXIO where nothing stands behind it.
        KernelError: anything else that the kernel says.
    """
    with _request(guest, entry) as path:
        return _text(guest, f"{path}/provider")


def request(guest: Guest, entry: str, inblob: bytes, wanted: str, privlevel: int | None = None) -> Answer:
    """
    Return the answer to one request.

    If the count of writes after reading is not the one before plus our own, somebody else wrote, and what was
    read may be theirs: then everything is asked again, three times at most.

    Args:
        guest: The machine.
        entry: A name for the request that no other process uses.
        inblob: At most 64 bytes that the report is to contain.
        wanted: The provider whose format is expected.
        privlevel: The privilege level (VMPL) that the report is to be about; None for the lowest number
            that the provider allows.

    Raises:
        UnavailableError: no request can be made.
        CollectError: another provider, a privilege level that is not allowed, another writer, an empty
            report, or the kernel's error after some attempts.

    Source:
        Documentation/ABI/testing/configfs-tsm-report, and drivers/virt/coco/tsm.c, v6.12.
    """
    with _request(guest, entry) as path:
        found = _text(guest, f"{path}/provider")
        if found != wanted:
            raise CollectError("configfs-tsm provider", found, wanted, SOURCE)
        options = {**_privilege(guest, path, privlevel), "inblob": inblob}
        for attempt in range(1, _ROUNDS + 1):
            before = _number(guest, f"{path}/generation")
            for attribute, value in options.items():
                _patiently(guest, partial(_write, guest, f"{path}/{attribute}", value))
            answer = Answer(*(_blob(guest, path, name) for name in ("outblob", "auxblob", "manifestblob")))
            written = _number(guest, f"{path}/generation") - before
            if written == len(options):
                break
            if attempt == _ROUNDS:
                found = f"another writer in each of {_ROUNDS} attempts: {written} writes in the last"
                raise CollectError("configfs-tsm generation", found, f"{len(options)}, our own", SOURCE)
            guest.pause(attempt / 4)
    if not answer.outblob:
        raise CollectError("configfs-tsm outblob", "0 bytes", "a report: the host gave none", SOURCE)
    return answer


@contextmanager
def _request(guest: Guest, entry: str) -> Iterator[str]:
    """Make the directory of a request, and remove it whatever happens; the first error is the one raised."""
    path = f"{REPORTS}/{entry}"
    try:
        with explained(f"configfs-tsm {entry}/mkdir", _UNUSABLE, SOURCE):
            guest.make_directory(path)
    except KernelError as error:
        if error.number not in _UNAVAILABLE:
            raise
        raise UnavailableError(
            error.where, error.found, error.want, error.source, number=error.number
        ) from error
    try:
        yield path
    except BaseException:
        with suppress(OSError):
            guest.remove_directory(path)
        raise
    with _explained(f"{path}/rmdir"):
        guest.remove_directory(path)


def _privilege(guest: Guest, path: str, level: int | None) -> dict[str, bytes]:
    """Return what to write so that the report is about a level, if anything."""
    if not guest.exists(f"{path}/privlevel"):
        if level is not None:
            raise CollectError("configfs-tsm privlevel", "no such attribute", "none asked for", SOURCE)
        return {}
    floor = _number(guest, f"{path}/privlevel_floor")
    if level is None:
        return {"privlevel": b"%d" % floor} if floor else {}  # the kernel begins with 0, allowed or not
    if not floor <= level <= _HIGHEST_PRIVILEGE_LEVEL:
        want = f"{floor} to {_HIGHEST_PRIVILEGE_LEVEL}"
        raise CollectError("configfs-tsm privlevel", str(level), want, SOURCE)
    return {"privlevel": b"%d" % level}


def _blob(guest: Guest, path: str, name: str) -> bytes:
    """Return a blob; drivers show only those that they have."""
    where = f"{path}/{name}"
    if name != "outblob" and not guest.exists(where):
        return b""
    return _patiently(guest, partial(_read, guest, where, _LARGEST))


def _patiently(guest: Guest, ask: Callable[[], bytes]) -> bytes:
    """The host may throttle requests or not answer in time; both pass."""
    return patiently(ask, _passes, guest.pause)


def _passes(error: CollectError) -> bool:
    return isinstance(error, KernelError) and error.number in _TRY_AGAIN


def _text(guest: Guest, path: str) -> str:
    return _read(guest, path, _LARGEST_TEXT).decode("ascii", "replace").strip()


def _number(guest: Guest, path: str) -> int:
    text = _text(guest, path)
    if not text.isdecimal() or not text.isascii():
        raise CollectError(f"configfs-tsm {path.rpartition('/')[2]}", repr(text), "a number", SOURCE)
    return int(text)


def _read(guest: Guest, path: str, limit: int) -> bytes:
    with _explained(path):
        return guest.read(path, limit)


def _write(guest: Guest, path: str, data: bytes) -> bytes:
    with _explained(path):
        guest.write(path, data)
    return data


def _explained(path: str) -> AbstractContextManager[None]:
    return explained(f"configfs-tsm {path.removeprefix(f'{REPORTS}/')}", _MEANINGS, SOURCE)
