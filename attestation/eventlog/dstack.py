"""
What does an event log of dstack say, which also has what its system extended into RTMR3?

JSON, an array of `imr` (0 to 3), `event_type`, `digest`, `event` and `event_payload`, bytes in hexadecimal.
The digest of an event of the running system covers its name and its payload; that of other events is the
firmware's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attestation import json_document
from attestation.errors import EvidenceFormatError
from attestation.eventlog import MAXIMUM_SIZE
from attestation.eventlog.log import Event, EventLog
from attestation.json_document import JsonObject
from shim.canonical import canonical_bytes

SOURCE = "dstack, cc-eventlog, runtime events"
_ALGORITHM = "sha384"
_RUNTIME = 0x08000001
_LAST_REGISTER = 3
REGISTER = _LAST_REGISTER + 1  # logs call MRTD 0
_LARGEST_TYPE = (1 << 32) - 1
_LATER_VERSION = 2
# Behind this the application may extend events, and call them as it likes.
_READY = "system-ready"


def parse(data: bytes) -> EventLog:
    """
    Return the log in `data`.

    Raises:
        EvidenceFormatError: it is none, or a digest of the running system's is not that of name and payload.

    Not checked:
        That any register has the value that the log leads to: `attestation.eventlog.replay`.

    Source:
        Dstack-TEE/dstack, cc-eventlog/src/tdx.rs and runtime_events.rs.
    """
    if len(data) > MAXIMUM_SIZE:
        raise EvidenceFormatError("event log", "", f"{len(data)} bytes", f"at most {MAXIMUM_SIZE} bytes")
    events = tuple(_event(one) for one in json_document.read_array(data, "event log"))
    return EventLog((_ALGORITHM,), 0, events, whole=True)


def system(log: EventLog) -> Mapping[str, str]:
    """
    Return what the system says of itself, by name: `app-id`, `compose-hash`, `instance-id`, `key-provider`.

    Payloads are in hexadecimal.  Of several events with one name the first counts, and none behind the one
    that says that the system is ready: those are the application's.
    """
    found: dict[str, str] = {}
    for event in log.events:
        if event.kind != _RUNTIME or event.preimage is None:
            continue
        if event.label == _READY:
            break
        found.setdefault(event.label, event.data.hex())
    return found


def _event(one: JsonObject) -> Event:
    register, kind = one.number("imr", _LAST_REGISTER), one.number("event_type", _LARGEST_TYPE)
    name, payload = one.text("event"), one.octets("event_payload")
    digest = one.octets("digest") if one.members.get("digest") else b""
    if kind != _RUNTIME:
        if len(digest) != hashlib.new(_ALGORITHM).digest_size:
            raise one.wrong("digest", digest.hex(), "a digest of 48 bytes")
        return Event(register + 1, kind, {_ALGORITHM: digest}, payload)
    if register != _LAST_REGISTER:
        raise one.wrong("imr", register, f"{_LAST_REGISTER} for events of the running system")
    preimage = _preimage(one, name, payload)
    found = hashlib.new(_ALGORITHM, preimage).digest()
    if digest not in {b"", found}:
        raise one.wrong("digest", digest.hex(), f"{found.hex()} of name and payload")
    return Event(register + 1, kind, {_ALGORITHM: found}, payload, name, preimage)


def _preimage(one: JsonObject, name: str, payload: bytes) -> bytes:
    """Return the bytes of which the digest is made, in either version."""
    if "version" not in one or one.number("version", _LATER_VERSION) == 1:
        if ":" in name:  # the same bytes would be another name with another payload
            raise one.wrong("event", name, "a name without a colon")
        return _RUNTIME.to_bytes(4, "little") + b":" + name.encode() + b":" + payload
    if one.number("version", _LATER_VERSION) != _LATER_VERSION:
        raise one.wrong("version", one.members["version"], "1 or 2")
    return canonical_bytes({"name": name, "payload": payload.hex(), "type": _RUNTIME})
