"""
Profiles that were derived before, by the digest of the program and of everything else they were derived from.

A profile decides what a program may do, so a cached one is used only if nobody else could have written it,
and only for the analysis that made it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from shim.canonical import sha256_hex
from shim.cli.derivation import Request, absolute_path
from shim.cli.watched_files import WatchedFiles, unchanged
from shim.elf.files import FileSource, RootedFiles
from shim.errors import ShimError
from shim.profile.codec import dumps, loads
from shim.profile.footprint import Footprint, dumps as footprint_bytes, loads as footprint_of
from shim.profile.profile import Profile
from shim.progress import in_silence

# The packages whose code decides what a profile says.
_DECIDING = ("elf", "analysis", "syscalls", "profile")


def cached_profile(
    data: bytes,
    path: str,
    directory: Path | None,
    request: Request | None = None,
    *,
    stage: Callable[[str], None] = in_silence,
) -> Profile:
    """
    Return the profile of the program with the bytes `data`, from `directory` if it is there.

    A kept profile counts only while every file that it was derived from is what it was: libraries, the
    loader's cache, the name services, and the files that were looked for and missing.

    Args:
        data: The whole program file.
        path: Its path, as the profile shall name it.
        directory: The cache; made if missing.  Where it cannot be used, or is None, nothing is kept.
        request: What else to derive from; the defaults if not given.
        stage: Told what is being done, if the profile is not there.

    Raises:
        BinaryError: as `derive`.
    """
    request = request or Request()
    files = WatchedFiles(RootedFiles(request.root))
    if directory is None:
        return request.derive(data, path, files, stage).profile
    digest = sha256_hex(data)
    entry = directory / f"{digest}-{_place(path, request)}-{fingerprint()}.json"
    known = _read(entry, digest, RootedFiles(request.root))
    if known is not None:
        return known[0]
    profile = request.derive(data, path, files, stage).profile
    _write(entry, files.seen(), dumps(profile))
    return profile


def cached_footprint(  # noqa: PLR0913  # what an analysis depends on, and where it is kept
    data: bytes,
    path: str,
    directory: Path | None,
    request: Request,
    sources: Callable[[], FileSource],
    *,
    stage: Callable[[str], None] = in_silence,
    trim: bool = False,
) -> tuple[Profile, Footprint]:
    """
    Return the profile and the footprint of a program; as `cached_profile`, kept apart from it.

    Args:
        data: The whole program file.
        path: Its path, as the profile shall name it.
        directory: The cache.
        request: What else to derive from; `request.root` only names the files.
        sources: Makes the files that the loader sees.
        stage: Told what is being done, if they are not there.
        trim: Whether the footprint shall say what nothing reaches.

    Raises:
        BinaryError: as `derive`.
    """
    digest = sha256_hex(data)
    entry = None
    if directory is not None:
        kind = "trim" if trim else "files"
        entry = directory / f"{digest}-{_place(path, request)}-{fingerprint()}.{kind}.json"
        known = _read(entry, digest, sources())
        if known is not None:
            with contextlib.suppress(ShimError):
                return known[0], footprint_of(known[1], str(entry))
    files = WatchedFiles(sources())
    derived = request.derive(data, path, files, stage)
    from shim.analysis.footprint import footprint

    stage("which files it uses")
    found = footprint(derived.program, derived.remaining)
    if trim:
        from shim.analysis.unreachable import unreachable

        stage("what nothing reaches")
        found = replace(found, unreachable=unreachable(derived.program))
    if entry is not None:
        _write(entry, files.seen(), dumps(derived.profile) + b"\n" + footprint_bytes(found))
    return derived.profile, found


def _place(path: str, request: Request) -> str:
    return sha256_hex(f"{absolute_path(path)}\0{request.key}".encode(errors="surrogateescape"))[:16]


def default_directory(environment: Mapping[str, str]) -> Path | None:
    """Return where profiles are kept for this user, or None where the environment names no absolute place."""
    home = environment.get("HOME", "")
    base = environment.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    return Path(base) / "shim" / "profiles" if base.startswith("/") else None


def fingerprint() -> str:
    """Return a digest of the code that derives profiles, 16 hexadecimal digits."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for package in _DECIDING:
        for module in sorted({*(root / package).rglob("*.py"), *(root / package).rglob("*.so")}):
            digest.update(str(module.relative_to(root)).encode() + b"\0" + module.read_bytes())
    return digest.hexdigest()[:16]


def _is_ours(place: Path) -> bool:
    """Whether only this user can have written `place`, which is no link."""
    status = place.lstat()
    kind = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
    return kind and status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(entry: Path, digest: str, files: FileSource) -> tuple[Profile, bytes] | None:
    """
    Return the cached profile, and what is kept behind it, if only this user can have written it.

    None is answered by deriving.
    """
    try:
        if not (_is_ours(entry.parent) and _is_ours(entry)):
            return None
        seen, _, kept = entry.read_bytes().partition(b"\n")
        if not unchanged(seen, files):
            return None
        text, _, rest = kept.partition(b"\n")
        profile = loads(text, str(entry))
    except (OSError, ShimError):
        return None
    return (profile, rest) if profile.program.sha256 == digest else None


def _write(entry: Path, seen: bytes, data: bytes) -> None:
    """Keep a profile, in a folder that is ours; a cache that cannot be written only costs time."""
    try:
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(entry.parent):
            return
        descriptor, temporary = tempfile.mkstemp(dir=entry.parent, prefix=".")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(seen + b"\n" + data)
            Path(temporary).replace(entry)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError:
        return
