"""
How does a guest get what it may have?  The client of a relying party, for guests that have Python.

It asks for a nonce, has evidence made that is bound to it and to a fresh key, and opens what comes back.  It
believes nobody on the way: what was released is sealed to its key, and with the relying party's public key at
hand it holds the signed token against what it got.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpcore
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation import json_document
from attestation.binding import NONCE_SIZE, report_data
from attestation.collect import Collected
from attestation.errors import AttestationError, EvidenceFormatError
from attestation.json_document import JsonObject
from attestation.relying_party import base64url, release, token
from attestation.relying_party.errors import RequestError
from attestation.relying_party.release import Context
from attestation.verdict import Verdict
from shim.canonical import canonical_bytes
from shim.errors import FoundWantError

_LARGEST_ANSWER = 1 << 20
_OK = 200


class RelyingPartyRefusalError(FoundWantError, AttestationError):
    """
    The relying party said no.

    Attributes:
        exit_code: That of its verdict where it gave one, else 1.
    """

    def __init__(self, where: str, found: str, want: str, verdict: Verdict | None) -> None:
        self.exit_code = 1 if verdict is None else verdict.exit_code
        super().__init__(where, found, want)


class UnreachableError(FoundWantError, AttestationError):
    """The relying party did not answer, or not with what it should."""


@dataclass(frozen=True, slots=True)
class Server:
    """
    Where the relying party is, and by what it is known.

    Attributes:
        url: Its base, http or https, without a final slash.
        authorities: A file of certificates, PEM, to trust for TLS instead of the system's.
        public_key: Its key for tokens, PEM; None leaves who sealed a resource to TLS alone.
        seconds: How long one answer may take.
    """

    url: str
    authorities: Path | None = None
    public_key: bytes | None = None
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was released, and the token that says why."""

    value: bytes
    version: int
    token: str


def attest(
    server: Server,
    resource: str,
    collect: Callable[[bytes], Collected],
    private_key: bytes,
    *,
    plan_digest: bytes = bytes(32),
    event_log: Callable[[Collected], bytes | None] = lambda _: None,
) -> Answer:
    """
    Return a resource that the relying party releases to this machine.

    Args:
        server: Whom to ask.
        resource: The name of what is asked for.
        collect: Returns evidence that is bound to 64 bytes.
        private_key: 32 fresh random bytes: the X25519 key of this one exchange.
        plan_digest: SHA-256 of the launch plan, zeros for none.
        event_log: Returns what explains the registers of the evidence, None where there is no log.

    Raises:
        UnreachableError: no answer, or another than the protocol has.
        RelyingPartyRefusalError: it refused, perhaps with a verdict.
        NotAuthenticError: what came back is not sealed to our key, or not signed by the relying party.
        CollectError: from `collect`.
    """
    with _Connection(server) as connection:
        asked = connection.ask("POST", "/v1/challenge", b"{}")
        nonce = _nonce(asked)
        public_key = X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
        found = collect(report_data(nonce, public_key, plan_digest))
        log = event_log(found)
        request = {
            "nonce": base64url.encode(nonce),
            "resource": resource,
            "evidence": base64url.encode(found.evidence),
            "public_key": base64url.encode(public_key),
            "plan_digest": base64url.encode(plan_digest),
            **({"certificates": base64url.encode(found.certificates)} if found.certificates else {}),
            **({"event_log": base64url.encode(log)} if log else {}),
        }
        answer = connection.ask("POST", "/v1/attest", canonical_bytes(request))
    sealed, signed, version = _released(answer)
    if server.public_key is not None:
        digest = hashlib.sha256(sealed).hexdigest()
        token.check(signed, server.public_key, nonce=nonce, resource=resource, sealed_sha256=digest)
    context = Context(nonce, hashlib.sha256(found.evidence).digest(), resource)
    return Answer(release.open_release(sealed, private_key, context), version, signed)


class _Connection:
    """One connection to the relying party, for two questions."""

    def __init__(self, server: Server) -> None:
        self._server = server
        try:
            tls = ssl.create_default_context(
                cafile=None if server.authorities is None else str(server.authorities)
            )
        except (OSError, ssl.SSLError) as error:
            raise UnreachableError(str(server.authorities), str(error), "certificates as PEM") from error
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._pool = httpcore.ConnectionPool(ssl_context=tls, max_connections=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def ask(self, method: str, path: str, body: bytes) -> JsonObject:
        limits = dict.fromkeys(("connect", "read", "write", "pool"), self._server.seconds)
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "tee-shim"}
        where = f"{self._server.url}{path}"
        try:
            url = httpcore.URL(where)
            host = url.host.decode() + ("" if url.port is None else f":{url.port}")
            sent = [*({"Host": host, "Content-Length": str(len(body)), **headers}).items()]
            with self._pool.stream(
                method, url, headers=sent, content=body, extensions={"timeout": limits}
            ) as got:
                text = b""
                for part in got.iter_stream():
                    text += part
                    if len(text) > _LARGEST_ANSWER:
                        want = f"at most {_LARGEST_ANSWER} bytes"
                        raise UnreachableError(where, f"more than {_LARGEST_ANSWER} bytes", want)
                return self._read(where, got.status, text)
        except (
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            ValueError,
        ) as error:
            found = str(error) or type(error).__name__
            raise UnreachableError(where, found, "a relying party that answers") from error

    def _read(self, where: str, status: int, text: bytes) -> JsonObject:
        try:
            said = json_document.read(text, where)
            if status == _OK:
                return said
            word = said.text("error")
            told = said.members.get("verdict")
        except EvidenceFormatError as error:
            raise UnreachableError(where, f"status {status}, {error.found}", "an answer in JSON") from error
        verdict = next((one for one in Verdict if one.value == told), None)
        detail = said.members.get("detail")
        why = [word, *(str(one) for one in (told, detail) if one is not None)]
        raise RelyingPartyRefusalError(where, ": ".join(why)[:500], "the resource", verdict)


def _nonce(answer: JsonObject) -> bytes:
    try:
        return base64url.member(answer, "nonce", size=NONCE_SIZE)
    except (EvidenceFormatError, RequestError) as error:
        raise UnreachableError(error.where, error.found, error.want) from error


def _released(answer: JsonObject) -> tuple[bytes, str, int]:
    """Return sealed resource, token and version."""
    try:
        return base64url.member(answer, "sealed"), answer.text("token"), answer.number("version", 1 << 53)
    except (EvidenceFormatError, RequestError) as error:
        raise UnreachableError(error.where, error.found, error.want) from error
