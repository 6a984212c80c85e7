"""
How many attestations a second, and is any release lost or doubled, also when the service is killed?

`make load` runs the long campaign, and holds the service against its description; the tests do both shortly.  Questions are asked and evidence is made before
the clock starts: what is measured is the service.  In the middle it is killed without warning, started anew on
the same database, and asked once more by everybody who had no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from attestation.relying_party import audit, keys
from shim.cli.serve_store import database
from tests.benchmarks import description
from tests.fakes.relying_party import EXACT, POLICY, SECRET, Machine, Running, attest, encoded, serve

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Asked:
    """One machine's request, and what became of it."""

    machine: Machine
    body: bytes
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    tries: int = 0


@dataclass(frozen=True)
class Campaign:
    """What is to be done: how many attestations, by how many clients, and whether to kill in between."""

    count: int
    clients: int
    kill: bool
    seconds: float  # after which it is given up


@dataclass(frozen=True)
class Outcome:
    """What was measured, and everything that should not be; nothing of that is how it should be."""

    figures: dict[str, float]
    wrong: list[str]


def run(campaign: Campaign, folder: Path, where: str | None = None) -> Outcome:
    """Run a campaign against a service whose database is in `folder`, or where `where` says."""
    (folder / "disk").write_bytes(SECRET)
    (folder / "keys").write_text(secrets.token_hex(32))
    address = where or str(folder / "database")
    arguments = ["--policy", POLICY, "--resource", f"disk={folder / 'disk'}", "--instance", "load",
                 "--database", address, "--database-key", folder / "keys", "--challenge-lifetime", "86400"]  # fmt: skip

    figures: dict[str, float] = {}
    with serve(*arguments) as running:
        port = int(running.url.rpartition(":")[2])
        asked = asyncio.run(_prepare(campaign, port, figures))
        started, spent = time.perf_counter(), _cpu(running)
        killed = campaign.count // 2 if campaign.kill else None
        asyncio.run(_attest(asked, campaign, port, running, killed))
        if running.process.poll() is None:
            figures["cpu_seconds"] = _cpu(running) - spent
        figures["seconds"] = time.perf_counter() - started
    if campaign.kill:
        with serve(*arguments, "--listen", f"127.0.0.1:{port}") as again:
            asyncio.run(_attest([one for one in asked if not one.status], campaign, port, again, None))
    answered = [one.seconds for one in asked if one.status == 200 and one.tries == 1]
    cuts = quantiles(answered, n=100)
    figures |= {"answered": len(answered), "p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}
    if "cpu_seconds" in figures:
        figures["per_second"] = len(answered) / figures["seconds"]
        figures["per_second_per_core"] = len(answered) / figures["cpu_seconds"]
    return Outcome(figures, list(_wrong(asked, address, folder)))


def _wrong(asked: Sequence[Asked], address: str, folder: Path) -> Iterator[str]:
    """Yield what was lost, doubled, or released to somebody else, by the audit log and by the answers."""
    opened = database(address)
    keyring = keys.load((folder / "keys").read_bytes(), "keys")
    audit.verify(opened, keyring)
    said = [json.loads(entry) for _, _, entry, _ in audit.entries(opened, "load")]
    released = Counter(one["nonce"] for one in said if one["event"] == "attested")
    rows = {bytes(row[0]).hex() for row in opened.rows("SELECT nonce FROM releases")}  # type: ignore[arg-type]
    opened.close()
    if rows != set(released):
        yield f"{len(rows ^ set(released))} releases are in the table or in the log alone"
    for nonce, times in released.items():
        if times != 1:
            yield f"{nonce} was released {times} times"
    for one in asked:
        nonce = one.machine.nonce.hex()
        if one.status == 200 and released[nonce] != 1:
            yield f"{nonce} was answered, and is not in the log"
        elif one.status == 200 and one.machine.open(one.answer) != SECRET:
            yield f"{nonce} got something else"
        elif one.status == 403 and not (one.tries == 2 and released[nonce] == 1):
            yield f"{nonce} was refused, and was not spent before the end"
        elif one.status not in {200, 403}:
            yield f"{nonce} ended with status {one.status}"


async def _prepare(campaign: Campaign, port: int, figures: dict[str, float]) -> list[Asked]:
    """Ask all questions, and make the evidence."""
    nonces: list[str] = []

    async def client(link: _Link) -> None:
        while len(nonces) < campaign.count:
            nonces.append("")  # taken
            _, answer = await link.post("/v1/challenge", b"{}")
            nonces[nonces.index("")] = answer["nonce"]

    started = time.perf_counter()
    await _together(campaign.clients, port, client)
    figures["challenges_per_second"] = campaign.count / (time.perf_counter() - started)
    made = []
    for nonce in nonces[: campaign.count]:
        machine = Machine()
        made.append(Asked(machine, encoded(machine.request(nonce))))
    return made


async def _attest(
    asked: Sequence[Asked], campaign: Campaign, port: int, running: Running, kill_after: int | None
) -> None:
    """Have everybody attest, and kill the service in the middle if that is wanted."""
    left, answered = iter(asked), 0

    async def client(link: _Link) -> None:
        nonlocal answered
        for one in left:
            one.tries += 1
            started = time.perf_counter()
            one.status, one.answer = await link.post("/v1/attest", one.body)
            one.seconds = time.perf_counter() - started
            answered += 1
            if answered == kill_after:
                running.process.send_signal(signal.SIGKILL)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(campaign.seconds):
            await _together(min(campaign.clients, len(asked)), port, client)


async def _together(count: int, port: int, client: Any) -> None:  # noqa: ANN401  # a coroutine function
    """Run clients at once, each with its own connection, until all are done or the service is gone."""

    async def one() -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with _connected(port) as link:
                await client(link)

    await asyncio.gather(*(one() for _ in range(count)))


@dataclass
class _Link:
    """A connection that is kept."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        status = int(line.split()[1])
        size = 0
        while line := (await self.reader.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        if not size:
            raise ConnectionResetError
        return status, json.loads(await self.reader.readexactly(size))


@contextlib.asynccontextmanager
async def _connected(port: int) -> AsyncIterator[_Link]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield _Link(reader, writer)
    finally:
        writer.close()


def _cpu(running: Running) -> float:
    """Return the processor's time that the service had, in seconds."""
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def main() -> int:
    """Run the long campaign: once undisturbed, once with a kill; 1 if anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument(
        "--examples", type=int, default=200, help="of each operation, against the description"
    )
    given = parser.parse_args()
    held = True
    for kill in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(Campaign(given.count, given.clients, kill, given.seconds), Path(folder))
        print(
            f"{given.count} attestations, {given.clients} clients, {'killed in the middle' if kill else 'undisturbed'}"
        )
        for name, value in outcome.figures.items():
            print(f"  {name:<22} {value:>10.1f}")
        for line in outcome.wrong[:20]:
            print(f"  wrong: {line}")
        print(f"  {'lost or doubled':<22} {len(outcome.wrong):>10}")
        held = held and not outcome.wrong
    return 0 if _describes(given.examples) and held else 1


def _describes(examples: int) -> bool:
    """Hold the service against its description at length; print how often, and what was otherwise."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "disk").write_bytes(SECRET)
        (folder / "exact.toml").write_text(EXACT)
        policies = ("--policy", f"sim={POLICY}", "--policy", folder / "exact.toml")
        resources = (f"disk@sim={folder / 'disk'}", f"default/key/1@exact={folder / 'disk'}")
        with serve(
            *policies,
            *(word for one in resources for word in ("--resource", one)),
            "--session-lifetime",
            "3600",
        ) as running:
            token = attest(running.url, Machine()).json["token"]
            found = description.ask(running.url, folder, examples=examples, token=token)
    print(
        f"held against the OpenAPI description: {found.cases} requests, {found.passed} answers as described"
    )
    if found.code:
        print(found.said)
    return not found.code and found.cases == found.passed > 0


if __name__ == "__main__":
    sys.exit(main())
