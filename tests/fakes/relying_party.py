"""A relying party over a real database, machines that attest to it, and the real `shim serve` on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID

from attestation.binding import report_data
from attestation.ear import VerifierId
from attestation.endorsements import Endorsements
from attestation.policy import Policy, load
from attestation.relying_party import base64url, keys, release, resources, token
from attestation.relying_party.database import Database
from attestation.relying_party.keys import Keyring
from attestation.relying_party.ledger import Ledger
from attestation.relying_party.party import RelyingParty, Terms
from attestation.relying_party.release import Context
from attestation.simulated.collect import collect

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "attestation" / "examples" / "policy-simulated.toml"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECRET = b"the key of the disk"
KEYS = Keyring((keys.master_key(b"1" * 32), keys.master_key(b"0" * 32)))
EXACT = POLICY.read_text().replace('binding = "shim"', 'binding = "exact"')


def policy(text: str | None = None, name: str = "sim.toml") -> Policy:
    return load(POLICY.read_text() if text is None else text, name)


def party(
    database: Database, policies: Mapping[str, Policy] | None = None, instance: str = "one"
) -> RelyingParty:
    """Return a relying party that has one resource, `disk`."""
    known = {"sim": policy(), "other": policy(POLICY.read_text() + "# other\n"), "kbs": policy(EXACT)}
    ledger = Ledger(database, KEYS, instance)
    made = RelyingParty(
        ledger, known if policies is None else policies, token.fresh_key(), lambda *_: Endorsements(), os.urandom, Terms(VerifierId("tests", "1"))
    )  # fmt: skip
    if not resources.labels(database):
        put(made, "disk", SECRET)
    return made


def put(to: RelyingParty, name: str, value: bytes, by: str = "sim") -> int:
    return resources.put(to.ledger, name, by, value, random=os.urandom, at="2026-06-01")


@dataclass
class Machine:
    """A simulated machine with a key of its own."""

    key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    evidence: bytes = b""
    nonce: bytes = b""

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def request(self, nonce: str, resource: str = "disk", **others: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return a request that answers a challenge; `others` stand in the place of what is right."""
        self.nonce = base64url.decode(nonce, "nonce")
        self.evidence = collect(report_data(self.nonce, self.public, bytes(32)))[0]
        right = {
            "nonce": nonce,
            "resource": resource,
            "evidence": base64url.encode(self.evidence),
            "public_key": base64url.encode(self.public),
        }
        return {name: value for name, value in {**right, **others}.items() if value is not None}

    def open(self, answer: Mapping[str, Any], resource: str = "disk") -> bytes:
        context = Context(self.nonce, hashlib.sha256(self.evidence).digest(), resource)
        return release.open_release(base64url.decode(answer["sealed"], "sealed"), self.key.private_bytes_raw(), context)  # fmt: skip


def encoded(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request).encode()


# --- over HTTP


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


def ask(url: str, body: Any = None, method: str | None = None, **headers: str) -> Reply:  # noqa: ANN401
    """Return the answer to one request; a body that is no bytes is sent as JSON."""
    data = body if body is None or isinstance(body, bytes) else encoded(body)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url, data, sent, method=method)  # noqa: S310  # loopback
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return Reply(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, dict(error.headers), error.read())


def attest(url: str, machine: Machine, resource: str = "disk") -> Reply:
    nonce = ask(f"{url}/v1/challenge", {}).json["nonce"]
    return ask(f"{url}/v1/attest", machine.request(nonce, resource))


@dataclass
class Running:
    """The real command, listening."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


COMMAND = "from shim.cli.main import main; main()"


def run_serve(*arguments: str | Path, program: str = COMMAND) -> subprocess.CompletedProcess[str]:
    """Run `shim serve` where it ends by itself."""
    command = [sys.executable, "-c", program, "serve", "--listen", "127.0.0.1:0", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@contextlib.contextmanager
def serve(*arguments: str | Path, rate: str = "0", program: str = COMMAND) -> Iterator[Running]:
    """Run `shim serve` on a free port, until the end or until somebody else ends it."""
    command = [
        sys.executable,
        "-c",
        program,
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--rate",
        rate,
        "--no-store",
    ]
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    said: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line.rstrip("\n"))
            if "listening on " in line:
                break
        assert said, "it said nothing"
        assert "listening on " in said[-1], said
        yield Running(process, said[-1].partition("listening on ")[2], said)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stderr is not None:
            said += process.stderr.read().splitlines()
            process.stderr.close()


def certificate(folder: Path) -> Path:
    """Return a file with a certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    begin, end = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    made = builder.not_valid_before(begin).not_valid_after(end).add_extension(alternative, critical=False)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())  # fmt: skip
    path = folder / "tls.pem"
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + pem)
    return path


# --- PostgreSQL


@dataclass
class Postgresql:
    """A real PostgreSQL in a folder, which can be ended and started again; it listens on no network."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"postgresql:///postgres?host={self.folder}&user=shim"

    def __post_init__(self) -> None:
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        command = [_programs() / "initdb", "-D", self.folder / "data", "-U", "shim", "-A", "trust", "-N"]
        subprocess.run(command, check=True, **self._quiet)

    @property
    def _user(self) -> str | None:
        return "postgres" if os.getuid() == 0 else None  # it refuses to run as root

    @property
    def _quiet(self) -> dict[str, Any]:
        return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": self._user}

    def start(self) -> None:
        options = ["-c", "listen_addresses=", "-k", str(self.folder), "-c", "max_connections=30"]
        command = [_programs() / "postgres", "-D", self.folder / "data", *options]
        self.process = subprocess.Popen(command, **self._quiet)
        until = time.monotonic() + 20
        while subprocess.run([_programs() / "pg_isready", "-q", "-h", self.folder], check=False).returncode:
            assert time.monotonic() < until, "it does not start"
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run a real PostgreSQL in a folder, and yield its address."""
    made = Postgresql(folder)
    made.start()
    try:
        yield made.address
    finally:
        made.stop()


def _programs() -> Path:
    found = postgresql_programs()
    assert found is not None
    return found


def postgresql_programs() -> Path | None:
    """Return where Debian's package has them, None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None
