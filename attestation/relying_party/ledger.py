"""
What may happen once: the only part that decides it, and the only one that writes.

A spent nonce, what was released for it and the audit record are one transaction, and no reply leaves before
it is on disk.  Requests that wait for the disk at the same time share a transaction: each still has its own
outcome, and all have it or none.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from attestation.relying_party.audit import Chain
from attestation.relying_party.database import Database, Statements
from attestation.relying_party.errors import SessionError, UnavailableError
from attestation.relying_party.keys import Keyring
from shim.canonical import JsonValue, canonical_bytes

Outcome = TypeVar("Outcome")
KEPT = 24 * 60 * 60  # seconds that a nonce is remembered beyond its time: clocks of instances differ
_SESSION = "session"
_SHARED = 64  # requests in one transaction


@dataclass(frozen=True, slots=True)
class Session:
    """
    What is known of a machine after it was affirmed.

    Attributes:
        nonce: The one that was spent for it.
        evidence_sha256: Digest of the evidence, 32 bytes.
        policies: The policies that affirmed it, each by SHA-256 of its text, hexadecimal.
        key: The public key that the evidence vouches for: X25519 in base64url, or a JSON web key.
        expires: The second after which it counts no more.
    """

    nonce: bytes
    evidence_sha256: bytes
    policies: tuple[str, ...]
    key: JsonValue
    expires: int

    def to_bytes(self) -> bytes:
        """Return it as it is kept."""
        return canonical_bytes(
            {
                "nonce": self.nonce.hex(),
                "evidence_sha256": self.evidence_sha256.hex(),
                "policies": list(self.policies),
                "key": self.key,
                "expires": self.expires,
            }
        )


class Writing:
    """One request's part of a transaction."""

    def __init__(self, keys: Keyring, statements: Statements, chain: Chain, forgotten: int) -> None:
        self._keys, self._statements, self._chain = keys, statements, chain
        self._forgotten = forgotten

    def spend(self, nonce: bytes, expires: int) -> bool:
        """
        Return whether the nonce was not spent before; from now on it is.

        One whose time was over when others of its time were forgotten may have been spent: a clock that was
        ahead for a while must not make it count again.
        """
        if expires < self._forgotten:
            return False
        changed = self._statements.change(
            "INSERT INTO nonces VALUES (?, ?) ON CONFLICT DO NOTHING", (nonce, expires)
        )
        return changed == 1

    def open_session(self, name: str, session: Session) -> None:
        """Remember a session under the secret that its machine has; the store holds only a digest of it."""
        body = session.to_bytes()
        key, place = self._keys.current, _place(name)
        self._statements.change(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (place, session.expires, key.id, body.decode(), key.mac(_SESSION, place + body)),
        )

    def release(self, session: Session, resource: str) -> bool:
        """Return whether the resource was not yet released for the session's nonce; from now on it is."""
        changed = self._statements.change(
            "INSERT INTO releases VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (session.nonce, resource, session.expires),
        )
        return changed == 1

    def record(self, event: Mapping[str, JsonValue]) -> None:
        """Append to the audit log."""
        self._chain.append(event)

    @property
    def statements(self) -> Statements:
        """For what has tables of its own."""
        return self._statements


@dataclass(slots=True)
class _Waiting:
    order: bytes
    work: Callable[[Writing], object]
    result: object = None
    error: BaseException | None = None
    done: bool = False


@dataclass(slots=True)
class Ledger:
    """
    The store of one instance; for use by several threads.

    Attributes:
        database: Where it is kept.
        keys: What sessions and the audit log are authenticated with.
        instance: The name of the audit log's chain that is extended here.
    """

    database: Database
    keys: Keyring
    instance: str
    _waiting: list[_Waiting] = field(default_factory=list)
    _queue: threading.Lock = field(default_factory=threading.Lock)
    _leading: threading.Lock = field(default_factory=threading.Lock)

    def commit(self, order: bytes, work: Callable[[Writing], Outcome]) -> Outcome:
        """
        Return what `work` returns, once everything that it did is on disk.

        Args:
            order: By what works of one transaction are sorted: the nonce, so that two instances which are
                asked for the same ones do not wait for each other.
            work: Does its part; what it raises undoes it.

        Raises:
            UnavailableError: the store cannot be written.
        """
        mine = _Waiting(order, work)
        with self._queue:
            self._waiting.append(mine)
        with self._leading:
            while not mine.done:
                with self._queue:
                    batch, self._waiting = self._waiting[:_SHARED], self._waiting[_SHARED:]
                self._run(batch)
        if mine.error is not None:
            raise mine.error
        return cast("Outcome", mine.result)

    def session(self, name: str, *, now: int) -> Session:
        """
        Return the session of whoever knows its secret.

        Raises:
            SessionError: there is none, its time is over, or nobody with the store's keys opened it.
            UnavailableError: the store cannot be read.
        """
        place = _place(name)
        query = "SELECT key_id, body, mac FROM sessions WHERE id = ? AND expires >= ?"
        for key_id, body, mac in self.database.rows(query, (place, now)):
            if isinstance(key_id, bytes) and isinstance(body, str) and isinstance(mac, bytes):
                genuine = self.keys.named(key_id).mac(_SESSION, place + body.encode())
                if hmac.compare_digest(genuine, mac):
                    return _session(json.loads(body))
        raise SessionError("none")

    def _run(self, batch: list[_Waiting]) -> None:
        """Do all in one transaction; where one of them fails, each in one of its own."""
        try:
            self._transact(sorted(batch, key=lambda one: one.order))
        except UnavailableError as error:
            for one in batch:
                one.error = error
        except Exception as error:  # noqa: BLE001  # whatever it is, who asked for it gets it
            if len(batch) == 1:
                batch[0].error = error
            else:
                for one in batch:
                    self._run([one])
        for one in batch:
            one.done = True

    def _transact(self, batch: list[_Waiting]) -> None:
        with self.database.transaction() as statements:
            chain = Chain(self.keys, self.instance, statements, self.database.lock)
            forgotten = _forgotten(statements, self.database.share)
            for one in batch:
                one.result = one.work(Writing(self.keys, statements, chain, forgotten))
            chain.close()

    def check(self) -> None:
        """
        Ask the store for something.

        Raises:
            UnavailableError: it does not answer.
        """
        self.database.rows("SELECT 1")

    def prune(self, *, now: int) -> None:
        """
        Forget nonces, sessions and releases whose time is long over.

        Raises:
            UnavailableError: the store cannot be written.
        """
        before = now - KEPT
        with self.database.transaction() as statements:
            # First of all, and locked until the end: nobody spends meanwhile by what was known before.
            statements.change("UPDATE forgotten SET before = ? WHERE before < ?", (before, before))
            for table in ("nonces", "sessions", "releases"):
                statements.change(f"DELETE FROM {table} WHERE expires < ?", (before,))  # noqa: S608  # names


def _forgotten(statements: Statements, share: str) -> int:
    """Return the time before which nonces that expired are not remembered."""
    return int(statements.rows(f"SELECT before FROM forgotten WHERE which = 0{share}")[0][0] or 0)  # noqa: S608


def _place(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _session(body: Mapping[str, object]) -> Session:
    """Return what was kept; its authentication code was right, so it is what was written."""
    return Session(
        bytes.fromhex(str(body["nonce"])),
        bytes.fromhex(str(body["evidence_sha256"])),
        tuple(cast("list[str]", body["policies"])),
        cast("JsonValue", body["key"]),
        cast("int", body["expires"]),
    )
