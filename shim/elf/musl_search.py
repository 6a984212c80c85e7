"""In which file does musl's loader find a library that an object needs?"""

from __future__ import annotations

import re

from shim.elf.files import FileSource
from shim.elf.search import Found, ObjectNotFoundError, Requester, origin, refuse_relative

DEFAULT_PATH = "/lib:/usr/local/lib:/usr/lib"
_TOKEN = re.compile(r"\$(?:ORIGIN|\{ORIGIN\})")
_OWN_NAMES = ("libc.", "libpthread.", "librt.", "libm.", "libdl.", "libutil.", "libxnet.")


class MuslSearch:
    """
    The rules of musl's loader for a process that is not AT_SECURE and has no LD_* in its environment.

    Args:
        files: The files.
        interpreter: Path of the loader as PT_INTERP names it: /etc is looked for beside its directory.
    """

    def __init__(self, files: FileSource, interpreter: str) -> None:
        self.findings: list[str] = []
        self._files = files
        prefix = interpreter.rpartition("/")[0].rpartition("/")[0]
        self._configuration = f"{prefix}/etc/ld-musl-x86_64.path"
        self._system_path: str | None = None

    def find(self, name: str, requester: Requester) -> Found:
        """
        Return the file for `name`.

        Raises:
            ObjectNotFoundError: none of the places has one.
            UnsupportedElfError: a relative path, whose meaning depends on the working directory.

        Source:
            musl 1.2.5, ldso/dynlink.c, load_library.
        """
        if "/" in name:
            refuse_relative(name, requester)
            data = self._files.read(name)
            if data is None:
                raise ObjectNotFoundError(name, requester.path, (name,))
            return Found(name, data)
        looked_in: list[str] = []
        holder: Requester | None = requester
        while holder is not None:
            found = self._in_path(_search_path(holder), name, looked_in)
            if found is not None:
                return found
            holder = holder.loader
        found = self._in_path(self._system(), name, looked_in)
        if found is None:
            raise ObjectNotFoundError(name, requester.path, tuple(looked_in))
        return found

    def expand(self, name: str, _requester: Requester) -> str:
        """Return `name`: musl replaces $ORIGIN in search paths only."""
        return name

    def _in_path(self, path: str, name: str, looked_in: list[str]) -> Found | None:
        for directory in re.split("[:\n]", path):
            if not directory:
                continue
            looked_in.append(directory)
            if not directory.startswith("/"):
                self.findings.append(
                    f"search path {directory!r} depends on the working directory: not searched"
                )
                continue
            data = self._files.read(f"{directory}/{name}")
            if data is not None:
                return Found(f"{directory}/{name}", data)
        return None

    def _system(self) -> str:
        if self._system_path is None:
            data = self._files.read(self._configuration)
            self._system_path = (
                DEFAULT_PATH if data is None else data.split(b"\0")[0].decode("utf-8", "replace")
            )
        return self._system_path


def names_libc(name: str) -> bool:
    """Whether musl's loader takes `name` for itself, whatever file has that name."""
    return name.startswith(_OWN_NAMES)


def _search_path(holder: Requester) -> str:
    """Return DT_RUNPATH or DT_RPATH of an object: both are inherited, any token but $ORIGIN voids them."""
    path = holder.runpath if holder.runpath is not None else holder.rpath
    if not path or "$" not in path:
        return path or ""
    if "$" in _TOKEN.sub("", path):
        return ""
    return _TOKEN.sub(lambda _: origin(holder, path), path)
