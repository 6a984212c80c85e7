"""Real processes that are raced, killed, cut off from their database, left without room and given a wrong clock."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from attestation.relying_party import audit, keys
from shim.cli.serve_store import database
from tests.fakes import relying_party as fakes
from tests.fakes.relying_party import (
    POLICY,
    SECRET,
    Machine,
    Postgresql,
    Reply,
    Running,
    ask,
    encoded,
    run_serve,
    serve,
)


def arguments(folder: Path, where: str, instance: str) -> tuple[str | Path, ...]:
    (folder / "disk").write_bytes(SECRET)
    if not (folder / "keys").exists():
        (folder / "keys").write_text(secrets.token_hex(32))
        made = fakes.token.fresh_key()
        (folder / "ear.pem").write_bytes(made.pem)
    return ("--policy", f"sim={POLICY}", "--resource", f"disk@sim={folder / 'disk'}", "--resource", f"more@sim={folder / 'disk'}",
            "--database", where, "--database-key", folder / "keys", "--instance", instance, "--ear-key", folder / "ear.pem")  # fmt: skip


def log(folder: Path, where: str) -> list[dict[str, str]]:
    """Return all entries of all chains, after each was verified."""
    opened = database(where)
    try:
        heads = audit.verify(opened, keys.load((folder / "keys").read_bytes(), "keys"))
        return [json.loads(row[2]) for head in heads for row in audit.entries(opened, head.instance)]
    finally:
        opened.close()


def asked(running: Running) -> tuple[Machine, bytes]:
    """Return a machine and its answer to a new question."""
    machine = Machine()
    return machine, encoded(machine.request(ask(f"{running.url}/v1/challenge", {}).json["nonce"]))


@pytest.fixture
def server() -> Iterator[Postgresql]:
    if fakes.postgresql_programs() is None:
        pytest.skip("no PostgreSQL here: apt install postgresql")
    with tempfile.TemporaryDirectory(prefix="shim-pg-", dir="/tmp") as folder:  # a short path for a socket
        made = Postgresql(Path(folder))
        made.start()
        try:
            yield made
        finally:
            made.stop()


def test_two_instances_that_race_release_each_once(server: Postgresql, tmp_path: Path) -> None:
    """The same answers to both at the same moment, and the same token at both."""
    count = 24
    with (
        serve(*arguments(tmp_path, server.address, "a")) as one,
        serve(*arguments(tmp_path, server.address, "b")) as two,
        ThreadPoolExecutor(16) as pool,
    ):
        machines = [asked((one, two)[number % 2]) for number in range(count)]
        start = threading.Barrier(16)

        def attest(number: int) -> list[Reply]:
            start.wait()
            url = (one, two)[number % 2].url
            return [ask(f"{url}/v1/attest", body) for _, body in machines]

        answers = list(pool.map(attest, range(16)))
        for replies, (machine, _) in zip(zip(*answers, strict=True), machines, strict=True):
            assert Counter(reply.status for reply in replies) == {200: 1, 403: 15}
            (won,) = [reply.json for reply in replies if reply.status == 200]
            assert machine.open(won) == SECRET
            header = {"Authorization": f"Bearer {won['token']}"}
            fetched = pool.map(
                lambda which, sent=header: ask(f"{which.url}/v1/resource/more", **sent), (one, two) * 4
            )
            assert Counter(reply.status for reply in fetched) == {200: 1, 403: 7}
    entries = log(tmp_path, server.address)
    assert {entry["instance"] for entry in entries} == {"a", "b"}
    assert Counter(entry["event"] for entry in entries) == {
        "put": 2, "attested": count, "replayed": 15 * count, "released": count, "withheld": 7 * count,
    }  # fmt: skip


def test_one_instance_is_killed_and_the_other_goes_on(server: Postgresql, tmp_path: Path) -> None:
    with (
        serve(*arguments(tmp_path, server.address, "a")) as one,
        serve(*arguments(tmp_path, server.address, "b")) as two,
        ThreadPoolExecutor(8) as pool,
    ):
        machines = [asked(one) for _ in range(32)]

        def attest(body: bytes) -> int:
            with contextlib.suppress(OSError, ValueError):
                return ask(f"{one.url}/v1/attest", body).status
            return 0

        first = [pool.submit(attest, body) for _, body in machines]
        while not any(one.done() for one in first):
            time.sleep(0.001)
        one.process.send_signal(signal.SIGKILL)
        before = [future.result() for future in first]
        after = [ask(f"{two.url}/v1/attest", body).status for _, body in machines]
    entries = log(tmp_path, server.address)
    released = Counter(entry["nonce"] for entry in entries if entry["event"] == "attested")
    assert released == {machine.nonce.hex(): 1 for machine, _ in machines}  # none lost, none doubled
    for was, now in zip(before, after, strict=True):
        assert (was, now) in {(200, 403), (0, 200), (0, 403)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["in order", "at once"])
def test_a_database_that_is_away_and_comes_back(
    server: Postgresql, tmp_path: Path, number: signal.Signals
) -> None:
    with serve(*arguments(tmp_path, server.address, "a")) as running:
        machines = [asked(running) for _ in range(3)]
        assert ask(f"{running.url}/v1/attest", machines[0][1]).status == 200
        server.stop(number)
        until = time.monotonic() + 10
        while ask(f"{running.url}/health").status != 503:  # a good answer counts for a second
            assert time.monotonic() < until
            time.sleep(0.1)
        assert ask(f"{running.url}/live").status == 200
        answer = ask(f"{running.url}/v1/attest", machines[1][1])
        assert (answer.status, answer.json) == (503, {"error": "unavailable"})
        server.start()
        # The very next request is answered, and what was not released before is now.
        assert ask(f"{running.url}/v1/attest", machines[1][1]).status == 200
        assert ask(f"{running.url}/health").status == 200
        assert ask(f"{running.url}/v1/attest", machines[0][1]).status == 403
        assert ask(f"{running.url}/v1/attest", machines[2][1]).status == 200
    assert Counter(entry["event"] for entry in log(tmp_path, server.address))["attested"] == 3


# --- a clock that steps

STEPPING = """
import pathlib, sys
from datetime import UTC, datetime, timedelta
from shim.cli.main import main
from attestation.relying_party import web
import shim.cli.serving as serving
web._PRUNE_EVERY = 1
ahead = pathlib.Path(AHEAD)
serving._clock = lambda: datetime.now(UTC) + timedelta(seconds=float(ahead.read_text()))
main()
"""


def test_a_clock_that_was_ahead_releases_nothing_twice(tmp_path: Path) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    where = str(tmp_path / "db")
    with serve(
        *arguments(tmp_path, where, "a"), program=STEPPING.replace("AHEAD", repr(str(ahead)))
    ) as running:
        machine, body = asked(running)
        assert ask(f"{running.url}/v1/attest", body).status == 200
        ahead.write_text(str(3 * 86400))
        assert ask(f"{running.url}/v1/attest", body).status == 403  # too old
        assert ask(f"{running.url}/v1/attest", asked(running)[1]).status == 200  # and all before is forgotten
        ahead.write_text("0")
        assert ask(f"{running.url}/v1/attest", body).status == 403
        ahead.write_text(str(-3 * 86400))
        assert ask(f"{running.url}/v1/attest", body).status == 403
        ahead.write_text("0")
        assert ask(f"{running.url}/v1/attest", asked(running)[1]).status == 403  # not even a new one
        managing = (
            "--database",
            where,
            "--database-key",
            tmp_path / "keys",
            "--instance",
            "a",
            "--clock-was-ahead",
        )
        assert re.search(
            r"nonces count again: a clock was 25\d{4} seconds ahead", run_serve(*managing).stderr
        )
        assert ask(f"{running.url}/v1/attest", asked(running)[1]).status == 200
        assert run_serve(*managing).stderr == "shim: no clock was ahead: nothing changed\n"
        ahead.write_text(str(3 * 86400))
        assert (
            ask(f"{running.url}/v1/attest", asked(running)[1]).status == 200
        )  # it goes on when time has, too
    entries = log(tmp_path, where)
    assert [entry["event"] for entry in entries].count("time set back") == 1
    released = Counter(entry["nonce"] for entry in entries if entry["event"] == "attested")
    assert released[machine.nonce.hex()] == 1
    assert set(released.values()) == {1}


# --- no room


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root mounts a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_without_room_releases_nothing_and_loses_nothing(small: Path, tmp_path: Path) -> None:
    where = str(small / "db")
    with serve(*arguments(tmp_path, where, "a")) as running:
        (small / "ballast").write_bytes(bytes(80 << 10))
        answers: dict[str, Reply] = {}
        bodies: dict[str, bytes] = {}
        while 503 not in {answer.status for answer in answers.values()}:
            machine, body = asked(running)
            bodies[machine.nonce.hex()], answers[machine.nonce.hex()] = (
                body,
                ask(f"{running.url}/v1/attest", body),
            )
            assert len(answers) < 2000
        assert set(next(reversed(answers.values())).json) == {"error"}
        assert ask(f"{running.url}/live").status == 200
        (small / "ballast").unlink()
        refused = [nonce for nonce, answer in answers.items() if answer.status == 503]
        assert refused
        for nonce in refused:  # with room again, without a restart
            assert ask(f"{running.url}/v1/attest", bodies[nonce]).status == 200
        assert any("full" in line for line in run_out(running))
    released = Counter(entry["nonce"] for entry in log(tmp_path, where) if entry["event"] == "attested")
    assert released == dict.fromkeys(answers, 1)


def run_out(running: Running) -> list[str]:
    """Return all that it said, when it has ended."""
    assert running.stop() == 0
    assert running.process.stderr is not None
    return running.process.stderr.read().splitlines()


def test_an_audit_log_that_was_changed_on_disk_is_found(tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415

    where = str(tmp_path / "db")
    own = arguments(tmp_path, where, "a")
    with serve(*own) as running:
        for _ in range(3):
            ask(f"{running.url}/v1/attest", asked(running)[1])
    managing = ("--database", where, "--database-key", tmp_path / "keys", "--instance", "a", "--verify-audit")
    good = run_serve(*managing)
    assert (good.returncode, good.stdout[:4]) == (0, "a:5:")
    with contextlib.closing(sqlite3.connect(where)) as hand:
        hand.execute("DROP TRIGGER audit_update")
        hand.execute("UPDATE audit SET entry = replace(entry, 'attested', 'refused') WHERE sequence = 4")
        hand.commit()
    bad = run_serve(*managing)
    assert bad.returncode == 1
    assert "audit a, entry 4: found a changed entry" in bad.stderr
    raw = bytearray(Path(where).read_bytes())
    for place in range(4096, len(raw), 4096):
        raw[place : place + 64] = secrets.token_bytes(64)
    Path(where).write_bytes(raw)
    for line in (run_serve(*managing), run_serve(*own)):
        assert line.returncode == 1
        assert "Traceback" not in line.stderr
        assert "store" in line.stderr
