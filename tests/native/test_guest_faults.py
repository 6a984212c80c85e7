"""Every system call of a guest fails once: it gets the right secret or none, and does not hang."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attestation.channel.errors import SilenceError, TruncatedError
from attestation.channel.messages import Exit, Output
from tests.fakes.channel import SECRET, session
from tests.native.simulating import Outcome, Run, ends, says

MOST_CALLS = 100
TOLD = (Output(1, b"hello"), Exit(0, ""))
ERRORS = (errno.EIO, errno.EAGAIN)


def each_call(simulator: Path, error: int) -> Iterator[Outcome]:
    for call in range(MOST_CALLS):
        done = Run(simulator, session(), fault=(error, call))(says(1, b"hello"), ends(0))
        if "fault: never" in done.error:
            return
        yield done
    pytest.fail(f"more than {MOST_CALLS} calls")


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_guest_whose_calls_fail(guest_build: Callable[[str], Path], error: int) -> None:
    outcomes = list(each_call(guest_build("guest") / "guest-simulator", error))
    assert len(outcomes) > 20
    for done in outcomes:
        assert done.secret in {b"", SECRET}
        assert done.records == TOLD[: len(done.records)]
        if done.exit_code == 0:
            assert (done.secret, done.error) == (SECRET, "")
        else:
            assert done.exit_code in {2, 125}
            assert done.error.startswith("shim: ") or done.exit_code == 2
            assert isinstance(done.failure, TruncatedError | SilenceError) or done.records == TOLD


def test_a_call_that_is_interrupted_is_made_again(guest_build: Callable[[str], Path]) -> None:
    """What nothing interrupts, the clock and fcntl, may fail."""
    for done in each_call(guest_build("guest") / "guest-simulator", errno.EINTR):
        for step in ("channel.read", "channel.write", "channel.wait", "guest.key"):
            assert step not in done.error
