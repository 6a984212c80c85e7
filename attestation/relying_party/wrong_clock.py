"""
A clock was ahead for so long that nonces which are asked for now do not count.  How does it go on?

What expired before a time is not remembered, and does not count (`Ledger.prune`).  Where that time is in the
future, because some instance believed it, nobody is served until it has come.
"""

from __future__ import annotations

from attestation.relying_party.ledger import KEPT, Ledger, Writing


def set_back(ledger: Ledger, *, now: int, at: str) -> int:
    """
    Let nonces count that expire from now on, record it, and return how many seconds that is earlier.

    Args:
        ledger: Where.
        now: The time, which is right.
        at: The same, for the record.

    Raises:
        UnavailableError: the store cannot be written.

    Not checked:
        That all nonces which were spent before the clock was ahead are over: whoever asks for this waits for
        the longest time that one counts, else one of them may count twice.
    """

    def work(writing: Writing) -> int:
        before = now - KEPT
        was = int(writing.statements.rows("SELECT before FROM forgotten WHERE which = 0")[0][0] or 0)
        if was <= before:
            return 0
        writing.statements.change("UPDATE forgotten SET before = ? WHERE which = 0", (before,))
        writing.record({"event": "time set back", "at": at, "from": was, "to": before})
        return was - before

    return ledger.commit(b"", work)
