"""What does an event log say, in words?  A JSON value for people, tokens and logs."""

from __future__ import annotations

from attestation.eventlog import dstack
from attestation.eventlog.log import Event, EventLog
from attestation.eventlog.replay import Registers, unexplained
from shim.canonical import JsonValue


def of_log(log: EventLog, registers: Registers) -> dict[str, JsonValue]:
    """
    Return the registers that a log explains, those that it does not, and the events.

    The data of an event is in it only where a digest covers the data: nobody vouches for anything else.
    """
    unknown = unexplained(log, registers)
    names = registers.names
    is_proven = dstack.REGISTER in registers.values and dstack.REGISTER not in unknown
    system = dstack.system(log) if is_proven else {}
    return {
        "explained": [names[number] for number in registers.values if number not in unknown],
        "unexplained": [names[number] for number in unknown],
        "events": [
            _event(event, registers, is_proven=event.register not in unknown)
            for event in log.events
            if event.register in names
        ],
        **({"system": system} if system else {}),
    }


def _event(event: Event, registers: Registers, *, is_proven: bool) -> dict[str, JsonValue]:
    digest = event.digests.get(registers.algorithm)
    is_proven = is_proven and event.covers_data(registers.algorithm)
    return {
        "register": registers.names[event.register],
        "type": event.name,
        "digest": None if digest is None else digest.hex(),
        "data": event.data.hex() if is_proven else None,
        **({"label": event.label} if is_proven and event.preimage is not None else {}),
    }
