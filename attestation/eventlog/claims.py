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
    return {
        "explained": [names[number] for number in registers.values if number not in unknown],
        "unexplained": [names[number] for number in unknown],
        "events": [_event(event, registers) for event in log.events if event.register in names],
        **({"system": system} if (system := dstack.system(log)) else {}),
    }


def _event(event: Event, registers: Registers) -> dict[str, JsonValue]:
    digest = event.digests.get(registers.algorithm)
    return {
        "register": registers.names[event.register],
        "type": event.name,
        "digest": None if digest is None else digest.hex(),
        "data": event.data.hex() if event.covers_data else None,
        **({"label": event.label} if event.label and event.preimage is not None else {}),
    }
