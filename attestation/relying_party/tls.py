"""
Whose certificate does the service show?

The one that its files hold now: who renews certificates writes new files, and connections that begin then get
the new one.  A file that cannot be used changes nothing: the one before stays.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from attestation.errors import AttestationError
from shim.errors import FoundWantError

_WANT = "a certificate and its key, PEM"
_Seen = tuple[tuple[int, int, int], ...]


class CertificateError(FoundWantError, AttestationError):
    """A certificate or a key that cannot be used, or that do not belong together."""


@dataclass(slots=True)
class Certificate:
    """
    The certificate in a file and its key in another; for use by one thread.

    Attributes:
        path, key: The files, PEM.
        front: What a server is given: each connection that begins with it goes on with the newest.
    """

    path: Path
    key: Path
    front: ssl.SSLContext = field(init=False)
    _newest: ssl.SSLContext = field(init=False)
    _seen: _Seen = ()

    def __post_init__(self) -> None:
        """
        Read both.

        Raises:
            CertificateError: they cannot be used.
        """
        self._seen = self._look()
        self.front = self._newest = self._read()
        self.front.sni_callback = self._show

    def renew(self) -> bool:
        """
        Read the files again if one of them is another than before, and return whether that was so.

        Raises:
            CertificateError: they cannot be used; what was shown before still is.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        # Only then: files that do not belong together may be half of a change, and are looked at once more.
        self._newest = self._read()
        self._seen = seen
        return True

    def _show(self, connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _look(self) -> _Seen:
        try:
            found = (os.stat(path) for path in (self.path, self.key))  # noqa: PTH116  # what a link leads to
            return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)
        except OSError as error:
            raise self._wrong(error.strerror or str(error)) from error

    def _read(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            made.load_cert_chain(self.path, self.key, password=_none)
        except OSError as error:  # also what the library says of its content
            raise self._wrong(error.strerror or str(error)) from error
        return made

    def _wrong(self, found: str) -> CertificateError:
        return CertificateError(f"{self.path}, {self.key}", found, _WANT)


def _none() -> str:
    """A key with a password would make the library ask on the terminal."""
    return ""
