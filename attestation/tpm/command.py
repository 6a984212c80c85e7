"""
How is a TPM asked, and what does it answer?

One command at a time, with empty passwords: the owner's and those of attestation keys that everybody on the
machine may use.  Responses are read strictly.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attestation.errors import CollectError, EvidenceFormatError
from attestation.patience import patiently
from attestation.reader import Reader

SOURCE = "TCG TPM 2.0 Library, part 3, rev. 1.59"
_HEADER = struct.Struct(">HII")  # tag, size, command or response code
_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
# TPM_RS_PW, no nonce, continueSession, no password: TPMS_AUTH_COMMAND of part 2, section 10.13.2.
_PASSWORD = struct.pack(">IHBH", 0x40000009, 0, 0, 0)
_ANSWERED = struct.Struct(">HBH")  # TPMS_AUTH_RESPONSE: size of the nonce, attributes, of the acknowledgment
LARGEST = 4096

# Part 2, section 6.6.3, "TPM_RC (Response Codes)"; without the number of the handle, parameter or session.
BAD_HANDLE = 0x8B
_ERRORS: Mapping[int, str] = {
    0x082: "TPM_RC_ATTRIBUTES: the key or the index is not made for this",
    0x083: "TPM_RC_HASH: the hash is not supported",
    0x084: "TPM_RC_VALUE: a value is out of range",
    BAD_HANDLE: "TPM_RC_HANDLE: there is no such index or key",
    0x08E: "TPM_RC_AUTH_FAIL: a password is set",
    0x092: "TPM_RC_SCHEME: the key signs by another scheme",
    0x095: "TPM_RC_SIZE: the command has the wrong size",
    0x0A2: "TPM_RC_BAD_AUTH: a password is set",
    0x100: "TPM_RC_INITIALIZE: the TPM was not started",
    0x101: "TPM_RC_FAILURE: the TPM failed its own test",
    0x143: "TPM_RC_COMMAND_CODE: the TPM does not know the command",
    0x146: "TPM_RC_NV_RANGE: beyond the end of the index",
    0x148: "TPM_RC_NV_LOCKED: the index is locked",
    0x149: "TPM_RC_NV_AUTHORIZATION: the owner may not do this with the index",
    0x14A: "TPM_RC_NV_UNINITIALIZED: nothing was written to the index yet",
    0x14B: "TPM_RC_NV_SPACE: no room for the index",
    0x14C: "TPM_RC_NV_DEFINED: there is such an index",
    0x902: "TPM_RC_OBJECT_MEMORY: no room for the key",
    0x908: "TPM_RC_YIELDED: the TPM was busy",
    0x90A: "TPM_RC_TESTING: the TPM is testing itself",
    0x910: "TPM_RC_REFERENCE_H0: there is no such key",
    0x920: "TPM_RC_NV_RATE: the TPM limits the rate of writes",
    0x921: "TPM_RC_LOCKOUT: locked after wrong passwords",
    0x922: "TPM_RC_RETRY: the TPM was busy",
    0x923: "TPM_RC_NV_UNAVAILABLE: no writes at this moment",
}
_TRY_AGAIN = frozenset({0x908, 0x90A, 0x920, 0x922, 0x923})
_FORMAT_ONE, _FORMAT_ONE_CODE = 0x80, 0xBF


class TpmError(CollectError):
    """
    A TPM refused a command.

    Attributes:
        code: The response code, without the number of the handle, parameter or session that it is about.
    """

    def __init__(self, where: str, response: int) -> None:
        self.code = response & _FORMAT_ONE_CODE if response & _FORMAT_ONE else response
        found = f"0x{response:x} ({_ERRORS.get(self.code, 'unknown')})"
        super().__init__(where, found, "0", 'TCG TPM 2.0 Library, part 2, rev. 1.59, section 6.6, "TPM_RC"')


@dataclass(frozen=True, slots=True)
class Tpm:
    """
    A TPM.

    Attributes:
        exchange: Sends a command, and returns the response; raises CollectError.
        pause: Called with the seconds to wait before the next attempt while the TPM is busy.
    """

    exchange: Callable[[bytes], bytes]
    pause: Callable[[float], None]

    def run(self, name: str, code: int, parameters: bytes, *, handles: tuple[int, ...] = ()) -> Reader:
        """
        Return a reader of the response's parameters, for a command that needs no authorization.

        Raises:
            TpmError: the TPM refused, after some attempts where that may help.
            EvidenceFormatError: what came is no response.
        """
        body = b"".join(struct.pack(">I", handle) for handle in handles) + parameters
        response = self._patiently(name, _NO_SESSIONS, code, body)
        return _reader(response, name)

    def authorized(
        self, name: str, code: int, parameters: bytes, *, handles: tuple[int, ...], authorizations: int = 1
    ) -> Reader:
        """
        Return a reader of the response's parameters, for a command that empty passwords authorize.

        Args:
            name: The command, for errors.
            code: Its number.
            parameters: Behind the authorization.
            handles: Those that need authorization first.
            authorizations: How many of the handles need one.

        Raises:
            TpmError, EvidenceFormatError: as for `run`.

        Source:
            TCG TPM 2.0 Library, part 1, revision 1.59, section 18, "Command/Response Structure".
        """
        sessions = _PASSWORD * authorizations
        body = b"".join(struct.pack(">I", handle) for handle in handles)
        body += struct.pack(">I", len(sessions)) + sessions + parameters
        reader = _reader(self._patiently(name, _SESSIONS, code, body), name)
        found = reader.part(reader.number(4, "parameterSize"), "parameters")
        for _ in range(authorizations):
            nonce, _, acknowledgment = _ANSWERED.unpack(reader.take(_ANSWERED.size, "authorization"))
            if nonce or acknowledgment:
                raise reader.wrong("authorization", f"{nonce} and {acknowledgment} bytes", "none")
        reader.end("authorization")
        return found

    def _patiently(self, name: str, tag: int, code: int, body: bytes) -> bytes:
        command = _HEADER.pack(tag, _HEADER.size + len(body), code) + body
        return patiently(lambda: self._once(name, tag, command), _passes, self.pause)

    def _once(self, name: str, tag: int, command: bytes) -> bytes:
        response = self.exchange(command)
        reader = _reader(response, name)
        found, size, code = reader.number(2, "tag"), reader.number(4, "size"), reader.number(4, "code")
        if size != len(response):
            raise reader.wrong("size", f"{size} bytes", f"{len(response)} bytes, as there are")
        if found != (tag if code == 0 else _NO_SESSIONS) or (code and reader.at != size):
            raise reader.wrong("tag", f"0x{found:04x}", f"0x{tag:04x}, or 0x8001 and a code alone")
        if code:
            raise TpmError(name, code)
        return response[reader.at :]


def sized(data: bytes) -> bytes:
    """Return a TPM2B: the size in two bytes, and `data`."""
    return struct.pack(">H", len(data)) + data


def taken(reader: Reader, field: str) -> bytes:
    """Return the contents of the next TPM2B."""
    return reader.take(reader.number(2, f"size of {field}"), field)


def _reader(data: bytes, name: str) -> Reader:
    if len(data) > LARGEST:
        raise EvidenceFormatError(f"{name} response", "", f"{len(data)} bytes", f"at most {LARGEST}", SOURCE)
    return Reader(data, f"{name} response", SOURCE, byteorder="big", origin=None)


def _passes(error: CollectError) -> bool:
    return isinstance(error, TpmError) and error.code in _TRY_AGAIN
