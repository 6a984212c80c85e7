"""`shim serve` and `shim attest --url` as a user meets them: two shells, and everything that goes wrong in one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from attestation.relying_party import base64url, release, token
from attestation.relying_party.release import Context
from shim.cli import attest, serve as command
from shim.errors import ShimError
from tests.fakes import relying_party as fakes
from tests.fakes.relying_party import POLICY, SECRET, Running, ask, run_serve, serve

KEY = "31" * 32


def run(
    which: click.Command, *arguments: str | Path, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Return exit code and everything that was said, as the program's top level says it."""
    result = CliRunner().invoke(which, [str(argument) for argument in arguments], env=environment)
    if isinstance(result.exception, ShimError):
        return getattr(result.exception, "exit_code", 1), str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("serve")
    (made / "disk").write_bytes(SECRET)
    (made / "keys").write_text(KEY)
    for name, key in (
        ("ear", ed25519.Ed25519PrivateKey.generate()),
        ("other", ec.generate_private_key(ec.SECP256R1())),
    ):
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())  # fmt: skip
        public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)  # fmt: skip
        (made / f"{name}.pem").write_bytes(private)
        (made / f"{name}.pub").write_bytes(public)
    return made


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Running]:
    pem = fakes.certificate(folder)
    with serve("--policy", POLICY, "--resource", f"disk={folder / 'disk'}", "--ear-key", folder / "ear.pem",
               "--tls-certificate", pem, "--tls-key", pem) as running:  # fmt: skip
        yield running


def ask_for(
    service: Running, folder: Path, *arguments: str | Path, resource: str = "disk"
) -> tuple[int, str]:
    return run(attest.command, "--url", service.url, "--tls-ca", folder / "tls.pem", "--tee", "simulated", "--resource", resource, *arguments)  # fmt: skip


def test_one_shell_serves_and_the_other_gets_the_resource(
    service: Running, folder: Path, tmp_path: Path
) -> None:
    assert (
        service.said[0] == "shim: no --database: resources, nonces and the audit log are gone when this ends"
    )
    assert "shim: disk: version 1, released by policy-simulated" in service.said
    code, said = ask_for(service, folder, "-o", tmp_path / "out", "--token", tmp_path / "token", "--relying-party-key", folder / "ear.pub")  # fmt: skip
    assert code == 0, said
    assert said.splitlines()[0].startswith("shim: SIMULATED:")
    assert said.splitlines()[1] == f"shim: {len(SECRET)} bytes of disk, version 1: {tmp_path / 'out'}"
    assert (tmp_path / "out").read_bytes() == SECRET
    claims = jwt.decode(
        (tmp_path / "token").read_text().strip(), (folder / "ear.pub").read_bytes(), algorithms=["EdDSA"]
    )
    assert claims["shim_release"]["resource"] == "disk"


def test_another_key_of_the_relying_party_is_not_believed(
    service: Running, folder: Path, tmp_path: Path
) -> None:
    code, said = ask_for(service, folder, "-o", tmp_path / "out", "--relying-party-key", folder / "other.pub")
    assert (code, "not signed by the relying party's key" in said) == (11, True)
    assert not (tmp_path / "out").exists()


def test_a_plan_is_bound_and_a_missing_resource_named(service: Running, folder: Path, tmp_path: Path) -> None:
    assert ask_for(service, folder, "-o", tmp_path / "out", "--plan-digest", "11" * 32)[0] == 0
    code, said = ask_for(service, folder, "-o", tmp_path / "no", resource="nothing")
    assert (code, "found no such resource" in said) == (1, True)
    code, said = ask_for(service, folder, "-o", tmp_path / "no", resource="../x")
    assert (code, "malformed request" in said) == (1, True)
    assert not (tmp_path / "no").exists()


def test_a_certificate_that_is_not_trusted(service: Running, tmp_path: Path) -> None:
    code, said = run(attest.command, "--url", service.url, "--tee", "simulated", "--resource", "disk", "-o", tmp_path / "out")  # fmt: skip
    assert code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in said


def test_a_refusal_has_the_exit_code_of_its_verdict(folder: Path, tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(POLICY.read_text().replace("65468baf", "00000000"))
    with serve("--policy", strict, "--resource", f"disk={folder / 'disk'}") as running:
        code, said = run(attest.command, "--url", running.url, "--tee", "simulated", "--resource", "disk", "-o", tmp_path / "out")  # fmt: skip
    assert code == 17
    assert "found refused: policy mismatch, want the resource" in said
    assert "65468baf" not in said


# --- relays that lie


class Relay:
    """Stands between client and service, and changes what comes back."""

    def __init__(self, upstream: str, change: Any) -> None:  # noqa: ANN401  # a function of the answer
        self.upstream, self.change = upstream, change


@contextlib.contextmanager
def relayed(relay: Relay) -> Iterator[str]:
    class Http(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = ask(relay.upstream + self.path, body)
            status, data = relay.change(self.path, answer.status, answer.json, json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def encoded(value: Any) -> bytes:  # noqa: ANN401
    return json.dumps(value).encode()


def only(path: str, **changes: Any) -> Any:  # noqa: ANN401
    def change(asked: str, status: int, answer: dict[str, Any], _body: object) -> tuple[int, bytes]:
        return status, encoded({**answer, **changes} if asked == path else answer)

    return change


def sealed_by_somebody(asked: str, status: int, answer: dict[str, Any], _body: object) -> tuple[int, bytes]:
    return status, encoded({**answer, "sealed": "A" * 107} if asked == "/v1/attest" else answer)


LIES = {
    "another sealed resource": (sealed_by_somebody, 11, "release"),
    "no token": (only("/v1/attest", token=5), 1, "token: found 5"),
    "a nonce of another size": (only("/v1/challenge", nonce="AAAA"), 1, "3 bytes, want 32 bytes"),
    "no JSON": (lambda *_: (200, b"<html>"), 1, "JSON"),
    "not even an error": (lambda *_: (500, b""), 1, "status 500"),
    "an error of another form": (lambda *_: (502, b"{}"), 1, "status 502"),
    "more than anybody reads": (lambda *_: (200, b" " * (2 << 20)), 1, "more than 1048576 bytes"),
    "a verdict of its own": (
        lambda *_: (403, encoded({"error": "x", "verdict": "revoked"})),
        13,
        "x: revoked",
    ),
    "a verdict that is none": (lambda *_: (403, encoded({"error": "x", "verdict": 5})), 1, "x: 5"),
}


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[Running]:
    with serve(
        "--policy", POLICY, "--resource", f"disk={folder / 'disk'}", "--ear-key", folder / "ear.pem"
    ) as running:
        yield running


@pytest.mark.parametrize("lie", LIES)
def test_a_relay_that_lies(plain: Running, tmp_path: Path, lie: str) -> None:
    change, want, text = LIES[lie]
    with relayed(Relay(plain.url, change)) as url:
        code, said = run(attest.command, "--url", url, "--tee", "simulated", "--resource", "disk", "-o", tmp_path / "out")  # fmt: skip
    assert (code, text in said) == (want, True), said
    assert not (tmp_path / "out").exists()


def seal_of_the_host(
    asked: str, status: int, answer: dict[str, Any], body: dict[str, str]
) -> tuple[int, bytes]:
    """The host knows nonce, evidence and public key, and HPKE does not say who sealed."""
    if asked == "/v1/attest":
        nonce, public, evidence = (
            base64url.decode(body[name], name) for name in ("nonce", "public_key", "evidence")
        )
        context = Context(nonce, hashlib.sha256(evidence).digest(), "disk")
        answer = {**answer, "sealed": base64url.encode(release.seal(b"evil", public, context))}
    return status, encoded(answer)


def test_what_the_host_sealed_itself_is_found_out_by_the_key(
    plain: Running, folder: Path, tmp_path: Path
) -> None:
    with relayed(Relay(plain.url, seal_of_the_host)) as url:
        arguments = ("--url", url, "--tee", "simulated", "--resource", "disk", "-o", tmp_path / "out")
        assert run(attest.command, *arguments)[0] == 0  # without the key it is believed
        assert (tmp_path / "out").read_bytes() == b"evil"
        (tmp_path / "out").unlink()
        code, said = run(attest.command, *arguments, "--relying-party-key", folder / "ear.pub")
    assert (code, "another release" in said) == (11, True), said
    assert not (tmp_path / "out").exists()


def test_nobody_there(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9", "http://[::1]:9", "https://127.0.0.1:9", "http://"):
        code, said = run(attest.command, "--url", url, "--tee", "simulated", "--resource", "disk", "-o", tmp_path / "out")  # fmt: skip
        assert (code, "a relying party that answers" in said) == (1, True), said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--url", "ftp://x", "--resource", "a"), "want http:// or https://"),
        (("--url", "http://x"), "--url wants --resource"),
        (("--url", "http://x", "--resource", "a", "--nonce", "11" * 32), "--url wants --resource"),
        (("--resource", "a"), "mean nothing without --url"),
        (("--token", "a"), "mean nothing without --url"),
        (("--no-event-log",), "mean nothing without --url"),
        (("--url", "http://x", "--resource", "a", "--event-log", "log"), "--url wants --resource"),
    ],
)
def test_uses_of_attest_that_mean_nothing(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    code, said = run(attest.command, "--tee", "simulated", "-o", tmp_path / "out", *arguments)
    assert (code, text in said) == (2, True), said


# --- managing a database


def test_resources_are_put_listed_removed_and_recorded(folder: Path, tmp_path: Path) -> None:
    own = ("--database", tmp_path / "db", "--database-key", folder / "keys", "--instance", "here")
    (tmp_path / "new").write_bytes(b"new")
    assert run(command.command, *own, "--put-resource", f"a/b@p={folder / 'disk'}") == (0, "shim: a/b: version 1, released by p\n")  # fmt: skip
    assert (
        "version 1 as before" in run(command.command, *own, "--put-resource", f"a/b@p={folder / 'disk'}")[1]
    )
    assert "version 2" in run(command.command, *own, "--put-resource", f"a/b@p={tmp_path / 'new'}")[1]
    assert run(command.command, *own, "--list-resources") == (0, "a/b  version 2  policy p\n")
    code, ended = run(command.command, *own, "--verify-audit")
    assert (code, ended.startswith("here:2:")) == (0, True)
    assert run(command.command, *own, "--remove-resource", "a/b") == (0, "shim: a/b: 2 versions removed\n")
    assert run(command.command, *own, "--verify-audit", "--expect", ended.strip())[0] == 0
    forged = f"here:2:{'00' * 32}"
    code, said = run(command.command, *own, "--verify-audit", "--expect", forged)
    assert (code, "found another entry than was noted" in said) == (1, True)
    wrong = tmp_path / "wrong"
    wrong.write_text("32" * 32)
    own = ("--database", tmp_path / "db", "--database-key", wrong, "--instance", "here")
    code, said = run(command.command, *own, "--verify-audit")
    assert (code, "something made with key" in said) == (1, True)


def test_the_key_may_be_a_credential(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shim-database-key").write_text(KEY)
    arguments = ("--database", tmp_path / "db", "--put-resource", f"a@p={folder / 'disk'}")
    assert run(command.command, *arguments)[0] == 2
    assert run(command.command, *arguments, environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "found no --policy"),
        (("--list-resources",), 2, "found no --database"),
        (("--database", "{}/db", "--list-resources"), 2, "found no --database-key"),
        (("--database", "{}/no/db", "--database-key", "{}/keys", "--list-resources"), 1, "store"),
        (("--database", "postgresql:///x?host=/no", "--database-key", "{}/keys", "--list-resources"), 1, "store"),
        (("--database", "{}/db", "--database-key", "{}/disk", "--list-resources"), 2, "another character"),
        (("--policy", "{}/missing.toml"), 2, "found no file"),
        (("--policy", "{}/disk"), 2, "disk"),
        (("--policy", "a={0}/p.toml", "--policy", "a={0}/p.toml"), 2, "a name of its own"),
        (("--policy", "a b={}/p.toml"), 2, "a name of its own"),
        (("--policy", "{}/p.toml", "--resource", "disk"), 2, "want NAME=FILE or NAME@POLICY=FILE"),
        (("--policy", "{}/p.toml", "--resource", "../x={}/disk"), 2, "want NAME=FILE"),
        (("--policy", "{}/p.toml", "--resource", "disk@={}/disk"), 2, "want NAME=FILE"),
        (("--policy", "{}/p.toml", "--resource", "disk={}/missing"), 10, "No such file"),
        (("--policy", "{}/p.toml", "--resource", "disk={}/empty"), 1, "0 bytes"),
        (("--policy", "a={0}/p.toml", "--policy", "b={0}/p.toml", "--resource", "disk={0}/disk"), 2, "want disk@POLICY=FILE"),
        (("--policy", "{}/p.toml", "--tls-key", "{}/disk"), 2, "belong together"),
        (("--policy", "{}/p.toml", "--expect", "a:1:00"), 2, "means nothing without --verify-audit"),
        (("--policy", "{}/p.toml", "--expect", "a"), 2, "a line that --verify-audit printed"),
        (("--policy", "{}/p.toml", "--listen", "8080"), 2, "want HOST:PORT"),
        (("--policy", "{}/p.toml", "--listen", "a:99999"), 2, "want HOST:PORT"),
        (("--policy", "{}/p.toml", "--ear-key", "{}/disk"), 2, "no private key"),
    ],
)  # fmt: skip
def test_uses_of_serve_that_mean_nothing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    for name, content in (
        ("disk", SECRET),
        ("keys", KEY.encode()),
        ("empty", b""),
        ("p.toml", POLICY.read_bytes()),
    ):
        (tmp_path / name).write_bytes(content)
    given = [argument.replace("{0}", "{}").replace("{}", str(tmp_path)) for argument in arguments]
    found, said = run(command.command, *given)
    assert (found, text in said) == (code, True), said


def test_an_address_that_is_taken(plain: Running) -> None:
    refused = run_serve("--policy", POLICY, "--listen", plain.url.removeprefix("http://"))
    assert refused.returncode == 1
    assert (
        "Address already in use, want an address that can be listened on" in refused.stderr.splitlines()[-1]
    )


def test_a_resource_without_its_policy_is_named_at_the_start(folder: Path, tmp_path: Path) -> None:
    own = ("--database", tmp_path / "db", "--database-key", folder / "keys")
    run(command.command, *own, "--put-resource", f"far@elsewhere={folder / 'disk'}")
    with serve("--policy", POLICY, *own) as running:
        assert "shim: far is not released: found no --policy elsewhere, want one" in running.said
        machine = fakes.Machine()
        answer = fakes.attest(running.url, machine, "far")
        assert (answer.status, answer.json) == (503, {"error": "unavailable"})


@pytest.mark.parametrize(
    "library", ["starlette", "uvicorn", "prometheus_client", "cryptography.hazmat.primitives.hpke"]
)
def test_a_library_that_is_missing_is_named(library: str, folder: Path) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; {fakes.COMMAND}"
    refused = run_serve("--policy", POLICY, "--resource", f"disk={folder / 'disk'}", program=program)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].endswith("want it: pip install 'tee-shim[serve]'"), refused.stderr


def test_help_loads_nothing_of_it() -> None:
    program = "import sys; from shim.cli.serve import command; print(sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=fakes.ROOT
    )
    for library in ("starlette", "uvicorn", "cryptography", "sqlite3", "psycopg", "httpcore"):
        assert f"'{library}'" not in loaded.stdout


def test_keys_of_tokens_are_published() -> None:
    (key,) = token.key_set(token.fresh_key())["keys"]  # type: ignore[misc,union-attr]
    assert set(key) == {"alg", "crv", "kid", "kty", "use", "x", "y"}
