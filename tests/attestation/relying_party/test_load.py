"""Many at once, several instances, and a service that is killed: nothing is lost and nothing comes twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest

from attestation.relying_party import audit, keys
from attestation.relying_party.database import Database
from tests.benchmarks.attestations import Campaign, run
from tests.fakes.relying_party import POLICY, SECRET, Machine, ask, encoded, serve


def test_a_service_that_is_killed_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    outcome = run(Campaign(300, 60, kill=True, seconds=30), tmp_path)
    assert outcome.wrong == []
    assert 150 <= outcome.figures["answered"] < 300


@pytest.mark.parametrize("connect", ["postgresql"], indirect=True)
def test_two_instances_that_get_the_same_answer_release_it_once(
    connect: Callable[[], Database], postgresql: str, tmp_path: Path
) -> None:
    """Questions of one instance are answered to both at once, while one of them is killed."""
    (tmp_path / "disk").write_bytes(SECRET)
    (tmp_path / "keys").write_text("31" * 32)
    arguments = ("--policy", POLICY, "--database", postgresql, "--database-key", tmp_path / "keys")
    machines = [Machine() for _ in range(60)]
    with (
        serve(*arguments, "--resource", f"disk={tmp_path / 'disk'}", "--instance", "first") as first,
        serve(*arguments, "--instance", "second") as second,
    ):
        bodies = [
            encoded(one.request(ask(f"{first.url}/v1/challenge", {}).json["nonce"])) for one in machines
        ]

        def send(number: int) -> int:
            if number == 80:
                second.process.send_signal(signal.SIGKILL)
            running = (first, second)[number % 2]
            try:
                return ask(f"{running.url}/v1/attest", bodies[number // 2]).status
            except (OSError, HTTPException):  # before the answer, or in the middle of it
                return 0

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(send, range(2 * len(bodies))))
    opened = connect()
    keyring = keys.load(b"31" * 32, "keys")
    ends = audit.verify(opened, keyring)
    assert {"first", "second"} == {end.instance for end in ends}
    said = [json.loads(entry) for end in ends for _, _, entry, _ in audit.entries(opened, end.instance)]
    released = [one["nonce"] for one in said if one["event"] == "attested"]
    assert len(released) == len(set(released))
    for number, machine in enumerate(machines):
        both = statuses[2 * number : 2 * number + 2]
        assert both.count(200) <= 1, both
        assert (200 in both) <= (machine.nonce.hex() in released)
        assert 200 in both or 0 in both, both  # only what was in flight at the end has no answer
    assert {200, 403, 0} == set(statuses)
