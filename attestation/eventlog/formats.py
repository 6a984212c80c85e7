"""In which format is an event log?"""

from __future__ import annotations

from attestation.eventlog import dstack, log
from attestation.eventlog.log import EventLog


def parse(data: bytes) -> EventLog:
    """
    Return the log in `data`: JSON of dstack, or the TCG's formats.

    Raises:
        EvidenceFormatError: neither.

    Not checked:
        That any register has the value that the log leads to: `attestation.eventlog.replay`.
    """
    return dstack.parse(data) if data.lstrip()[:1] == b"[" else log.parse(data)
