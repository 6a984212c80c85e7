"""
Profiles that were derived before, by the digest of the program.

A profile decides what a program may do, so a cached one is used only if nobody else could have written it,
and only for the analysis that made it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from shim.analysis.derive import derive
from shim.errors import ProfileError
from shim.profile.codec import dumps, loads
from shim.profile.profile import Profile

# The packages whose code decides what a profile says.
_DECIDING = ("elf", "analysis", "syscalls", "profile")


def cached_profile(data: bytes, path: str, directory: Path) -> Profile:
    """
    Return the profile of the program with the bytes `data`, from `directory` if it is there.

    Args:
        data: The whole program file.
        path: Its path, as the profile shall name it.
        directory: The cache; made if missing.  Where it cannot be used, the profile is derived and not kept.

    Raises:
        BinaryError: as `derive`.
    """
    digest = hashlib.sha256(data).hexdigest()
    place = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:16]
    entry = directory / f"{digest}-{place}-{fingerprint()}.json"
    known = _read(entry, digest)
    if known is not None:
        return known
    profile = derive(data, path)
    _write(entry, dumps(profile))
    return profile


def default_directory(environment: dict[str, str]) -> Path:
    """Return where profiles are kept for this user: XDG_CACHE_HOME/shim/profiles."""
    home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/nonexistent")) / ".cache")
    return Path(home) / "shim" / "profiles"


def fingerprint() -> str:
    """Return a digest of the code that derives profiles, 16 hexadecimal digits."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for package in _DECIDING:
        for module in sorted((root / package).glob("*.py")):
            digest.update(module.name.encode() + b"\0" + module.read_bytes())
    return digest.hexdigest()[:16]


def _read(entry: Path, digest: str) -> Profile | None:
    """Return the cached profile if only this user can have written it; None is answered by deriving."""
    try:
        for place in (entry.parent, entry):
            status = place.lstat()
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
        profile = loads(entry.read_bytes(), str(entry))
    except (OSError, ProfileError):
        return None
    return profile if profile.program.sha256 == digest else None


def _write(entry: Path, data: bytes) -> None:
    temporary = entry.with_suffix(f".{os.getpid()}")
    try:
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(entry)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError:
        return  # a cache that cannot be written only costs time
