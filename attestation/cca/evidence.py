"""
What was handed to us: the token of a realm, and that of the platform which vouches for the realm's key.

Layout only: nothing here knows whether anybody signed them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from attestation import cose
from attestation.cose import Sign1
from attestation.errors import EvidenceFormatError

SOURCE = "Realm Management Monitor Specification, DEN0137, 1.0, section A7.2, CCA attestation token"
MAXIMUM_SIZE = 1 << 16
_TAGGED = b"\xd9\x01\x8f"  # tag 399
_TYPED = b"\xd9\x03\x8b"  # tag 907, of draft-ffm-rats-cca-token from version 1 on
_EAT_CWT = 263  # CoAP content format "application/eat+cwt", RFC 9782
_UNPROTECTED = frozenset({4})  # kid, RFC 9052, section 3.1: names a key, says nothing of the signature
_PLATFORM, _REALM = 44234, 44241
_HASHES = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
_SIZES = (32, 48, 64)
_REGISTERS = 4


@dataclass(frozen=True, slots=True)
class Realm:
    """
    What a realm's token says.

    Attributes:
        challenge: 64 bytes that the realm gave.
        personalization: 64 bytes that the host gave at launch.
        initial: The initial measurement.
        extensible: The measurements that the realm extends.
        key: The realm's attestation key as the token has it.
        key_hash: The name of the hash by which the platform vouches for the key, as hashlib calls it.
    """

    challenge: bytes
    personalization: bytes
    initial: bytes
    extensible: tuple[bytes, ...]
    key: bytes
    key_hash: str


@dataclass(frozen=True, slots=True)
class Component:
    """One piece of the platform's software: what it is called, its measurement, and who signed it."""

    name: str
    measurement: bytes
    signer: bytes


@dataclass(frozen=True, slots=True)
class Platform:
    """
    What a platform's token says.

    Attributes:
        challenge: The digest of the realm's key.
        implementation: Which implementation of the security domain it is.
        instance: Which single one.
        lifecycle: 0x3000 to 0x30ff is secured.
        components: Its software.
    """

    challenge: bytes
    implementation: bytes
    instance: bytes
    lifecycle: int
    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both tokens, the messages that they came in, and the digest of the bytes as they were given."""

    realm: Realm
    realm_message: Sign1
    platform: Platform
    platform_message: Sign1
    sha256: bytes


def parse(data: bytes) -> Evidence:
    """
    Return the tokens in `data`.

    Raises:
        EvidenceFormatError: anything else.

    Not checked:
        Any signature, and that the platform vouches for the realm: `authenticate` does.

    Source:
        Realm Management Monitor Specification, DEN0137, 1.0, section A7.2.
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("evidence", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    messages = _messages(data)
    realm_message = cose.parse(messages[_REALM], "realm token", unprotected=_UNPROTECTED)
    platform_message = cose.parse(messages[_PLATFORM], "platform token", unprotected=_UNPROTECTED)
    return Evidence(
        _realm(_Claims(realm_message.payload, "realm token")),
        realm_message,
        _platform(_Claims(platform_message.payload, "platform token")),
        platform_message,
        hashlib.sha256(data).digest(),
    )


def _messages(data: bytes) -> dict[int, bytes]:
    """Return both messages, which later drafts put into arrays that say what they are."""
    is_typed = data.startswith(_TYPED)
    outer = cose.cbor(data.removeprefix(_TYPED if is_typed else _TAGGED), "CCA token")
    if not isinstance(outer, Mapping) or set(outer) != {_PLATFORM, _REALM}:
        raise _wrong("CCA token", "", type(outer).__name__, f"a map of {_PLATFORM} and {_REALM}")
    return {name: _message(outer[name], name, is_typed=is_typed) for name in (_PLATFORM, _REALM)}


def _message(value: object, name: int, *, is_typed: bool) -> bytes:
    match value:
        case bytes() if not is_typed:
            return value
        case [kind, bytes() as message] if is_typed and kind == _EAT_CWT:
            return message
    want = f"an array of {_EAT_CWT} and a byte string" if is_typed else "a byte string"
    raise _wrong("CCA token", str(name), type(value).__name__, want)


class _Claims:
    """The claims of one token; every method raises EvidenceFormatError where a claim is something else."""

    def __init__(self, payload: bytes, where: str) -> None:
        found = cose.cbor(payload, where)
        if not isinstance(found, Mapping):
            raise _wrong(where, "", type(found).__name__, "a map")
        self.where = where
        self.found = found

    def octets(self, claim: int, *sizes: int) -> bytes:
        value = self.found.get(claim)
        if not isinstance(value, bytes) or (sizes and len(value) not in sizes):
            shown = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
            raise _wrong(
                self.where, str(claim), shown, f"bytes, {' or '.join(map(str, sizes)) or 'any number'}"
            )
        return value

    def items(self, claim: int) -> list[object]:
        value = self.found.get(claim)
        if not isinstance(value, list | tuple):
            raise _wrong(self.where, str(claim), type(value).__name__, "an array")
        return list(value)


def _realm(claims: _Claims) -> Realm:
    name = claims.found.get(44240)
    if not isinstance(name, str) or name not in _HASHES:
        raise _wrong(claims.where, "44240", str(name)[:40], ", ".join(_HASHES))
    registers = claims.items(44239)
    if len(registers) != _REGISTERS or not all(
        isinstance(one, bytes) and len(one) in _SIZES for one in registers
    ):
        raise _wrong(claims.where, "44239", f"{len(registers)} values", f"{_REGISTERS} measurements")
    return Realm(
        challenge=claims.octets(10, 64),
        personalization=claims.octets(44235, 64),
        initial=claims.octets(44238, *_SIZES),
        extensible=tuple(one for one in registers if isinstance(one, bytes)),
        key=claims.octets(44237),
        key_hash=_HASHES[name],
    )


def _platform(claims: _Claims) -> Platform:
    lifecycle = claims.found.get(2395)
    if not isinstance(lifecycle, int) or not 0 <= lifecycle <= 0xFFFF:
        raise _wrong(claims.where, "2395", type(lifecycle).__name__, "a number of 16 bits")
    return Platform(
        challenge=claims.octets(10, *_SIZES),
        implementation=claims.octets(2396, 32),
        instance=claims.octets(256, 33),
        lifecycle=lifecycle,
        components=tuple(_component(one, claims.where) for one in claims.items(2399)),
    )


def _component(value: object, where: str) -> Component:
    members = value if isinstance(value, Mapping) else {}
    name, measurement, signer = members.get(1, ""), members.get(2), members.get(5)
    if not isinstance(name, str) or not isinstance(measurement, bytes) or not isinstance(signer, bytes):
        raise _wrong(where, "2399", type(value).__name__, "components with measurement and signer")
    return Component(name, measurement, signer)


def _wrong(where: str, field: str, found: str, want: str) -> EvidenceFormatError:
    return EvidenceFormatError(where, field, found, want, SOURCE)
