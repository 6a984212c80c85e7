"""Which distribution is this root, by its own account?"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace

from images.packages.errors import PackageDatabaseError
from shim.elf.files import FileSource

PLACES = ("/etc/os-release", "/usr/lib/os-release")
# Of Debian, Alpine and Ubuntu: trivy takes no distribution for one without its own.
MARKERS = ("/etc/debian_version", "/etc/alpine-release", "/etc/lsb-release")
SOURCE = "os-release(5)"
MAX_BYTES = 64 << 10
_WORD = re.compile(r"[A-Za-z0-9._+~-]*")


@dataclass(frozen=True, slots=True)
class Distribution:
    """
    What an os-release file says.

    Attributes:
        identifier: ID, "linux" where it has none.
        release: VERSION_ID, "" where it has none.
        text: The file.
        markers: (path, bytes) of older files that say the same, by which some scanners go.
    """

    identifier: str
    release: str
    text: bytes
    markers: tuple[tuple[str, bytes], ...] = ()


def distribution(files: FileSource) -> Distribution | None:
    """
    Return what the root says of itself, or None where it has no os-release file.

    Raises:
        PackageDatabaseError: the file is damaged.

    Source:
        os-release(5): the file below /etc is used, the one below /usr/lib where that is missing.
    """
    for place in PLACES:
        text = files.read(place)
        if text is not None:
            found = _parse(text, place)
            markers = ((marker, files.read(marker)) for marker in MARKERS)
            return replace(found, markers=tuple((path, data) for path, data in markers if data is not None))
    return None


def _parse(text: bytes, where: str) -> Distribution:
    if len(text) > MAX_BYTES:
        raise PackageDatabaseError(where, f"{len(text)} bytes", f"at most {MAX_BYTES} bytes", SOURCE)
    values: dict[str, str] = {}
    for number, raw in enumerate(text.split(b"\n"), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        name, assigned, value = line.partition(b"=")
        try:
            words = shlex.split(value.decode())
        except ValueError as error:  # quotes without an end, or no UTF-8
            raise PackageDatabaseError(f"{where}:{number}", repr(raw), "NAME=value", SOURCE) from error
        if not assigned or len(words) > 1:
            raise PackageDatabaseError(f"{where}:{number}", repr(raw), "NAME=value", SOURCE)
        values[name.decode("utf-8", "replace")] = "".join(words)
    for key in ("ID", "VERSION_ID"):
        if not _WORD.fullmatch(values.get(key, "")):
            raise PackageDatabaseError(f"{where}: {key}", repr(values[key]), "letters and digits", SOURCE)
    return Distribution(values.get("ID") or "linux", values.get("VERSION_ID", ""), text)
