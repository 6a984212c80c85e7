"""The real command, asked over loopback: what it answers, what it refuses, and how it ends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from attestation.relying_party import openapi
from attestation.relying_party.rate import RateLimit, network
from attestation.verdict import Verdict
from tests.benchmarks import description
from tests.fakes import relying_party as fakes
from tests.fakes.kbs import Guest
from tests.fakes.relying_party import POLICY, SECRET, Machine, Running, ask, attest, serve


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "disk").write_bytes(SECRET)
    (folder / "exact.toml").write_text(fakes.EXACT)
    arguments = ("--policy", f"sim={POLICY}", "--policy", folder / "exact.toml")
    resources = (
        "--resource",
        f"disk@sim={folder / 'disk'}",
        "--resource",
        f"default/key/1@exact={folder / 'disk'}",
    )
    with serve(*arguments, *resources) as running:
        yield running


def test_a_machine_gets_its_resource(service: Running) -> None:
    machine = Machine()
    answer = attest(service.url, machine)
    assert (answer.status, machine.open(answer.json)) == (200, SECRET)
    assert answer.headers["cache-control"] == "no-store"
    again = ask(f"{service.url}/v1/resource/disk", Authorization=f"Bearer {answer.json['token']}")
    assert (again.status, again.json) == (403, {"error": "not released"})


def test_a_guest_of_confidential_containers_gets_it_too(service: Running) -> None:
    guest = Guest()
    auth = ask(f"{service.url}/kbs/v0/auth", guest.request())
    cookie, *attributes = auth.headers["set-cookie"].split("; ")
    assert cookie.startswith("kbs-session-id=sample.")
    assert {one.lower() for one in attributes} == {"httponly", "max-age=120", "path=/kbs/v0"}
    answer = ask(f"{service.url}/kbs/v0/attest", guest.attestation(auth.json), Cookie=cookie)
    assert (answer.status, set(answer.json)) == (200, {"token"})
    url = f"{service.url}/kbs/v0/resource/default/key/1"
    assert guest.open(ask(url, Cookie=cookie).json) == SECRET
    for headers in ({"Cookie": cookie}, {"Authorization": f"Bearer {answer.json['token']}"}, {}):
        again = ask(url, **headers)
        assert (again.status, set(again.json)) == (401, {"type", "detail"})
    missing = ask(f"{service.url}/kbs/v0/resource/default/key/2", Cookie=cookie)
    assert (missing.status, missing.json["detail"]) == (404, "no such resource")
    wrong = ask(f"{service.url}/kbs/v0/auth", {**guest.request(), "version": "0.1.0"})
    assert wrong.status == 401
    assert "found '0.1.0', want 0.4.0" in wrong.json["detail"]


def test_a_refusal_is_a_word_and_a_verdict(service: Running) -> None:
    machine = Machine()
    nonce = ask(f"{service.url}/v1/challenge", {}).json["nonce"]
    request = machine.request(nonce)
    other = {**request, "public_key": Machine().request(nonce)["public_key"]}
    answer = ask(f"{service.url}/v1/attest", other)
    assert (answer.status, answer.json) == (
        403,
        {"error": "refused", "verdict": "stale nonce or wrong binding"},
    )
    assert ask(f"{service.url}/v1/attest", request).json == answer.json  # it was spent


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/v1", "GET", 404),
        ("/v1/challenge/", "POST", 404),
        ("/v1/attest", "GET", 405),
        ("/v1/challenge", "DELETE", 405),
        ("/v1/resource/disk", "HEAD", 405),
        ("/v1/resource/disk", "POST", 405),
        ("/v1/resource/disk", "GET", 401),
        ("/v1/resource/", "GET", 401),
        ("/kbs/v0/resource/a/b", "GET", 404),
        ("/kbs/v0/resource/default/key/1", "HEAD", 405),
        ("/kbs/v0/attestation-policy", "POST", 404),
    ],
)
def test_paths_and_methods_that_are_not_offered(
    service: Running, path: str, method: str, status: int
) -> None:
    answer = ask(f"{service.url}{path}", method=method)
    assert answer.status == status
    if method != "HEAD":
        assert set(answer.json) == {"error"}


def test_tokens_that_are_none(service: Running) -> None:
    for value in ("", "Bearer", "Bearer ", "Basic abc", "Bearer abc", "Bearer " + "a" * 5000, "é"):
        answer = ask(f"{service.url}/v1/resource/disk", Authorization=value)
        assert (answer.status, answer.json) == (401, {"error": "not attested"})
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v1/attest", "/v1/challenge", "/kbs/v0/auth", "/kbs/v0/attest"])
def test_bodies_that_are_too_large_or_no_json(service: Running, path: str) -> None:
    with connected(service) as link:  # the answer comes before the body
        link.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {7 << 20}\r\n\r\n".encode())
        assert b" 413 " in link.recv(100)
    assert ask(f"{service.url}{path}", b"{}", Content_Type="text/plain").status == 415
    if path != "/v1/challenge":
        assert ask(f"{service.url}{path}", b"\xff").status in {400, 401}


def test_a_body_without_end_is_cut(service: Running) -> None:
    """Chunks say no length in advance."""
    with connected(service) as link:
        link.sendall(b"POST /v1/attest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                link.sendall(b"20000\r\n" + bytes(0x20000) + b"\r\n")
        assert b" 413 " in link.recv(100)


def test_a_head_that_is_too_large(service: Running) -> None:
    with connected(service) as link:
        with contextlib.suppress(OSError):
            link.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (1 << 20))
        assert b" 400 " in link.recv(100)


def test_what_is_no_http(service: Running) -> None:
    with connected(service) as link:
        link.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b" 400 " in link.recv(100)


def test_health_keys_and_metrics(service: Running) -> None:
    assert ask(f"{service.url}/health").json == {"status": "ok"}
    (key,) = ask(f"{service.url}/v1/keys").json["keys"]
    assert (key["alg"], "d" in key) == ("ES256", False)
    before = ask(f"{service.url}/metrics").body.decode()
    attest(service.url, Machine())
    ask(f"{service.url}/v1/nothing/of/this/name")
    after = ask(f"{service.url}/metrics").body.decode()

    def count(text: str, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    for name in ('shim_attestations_total{verdict="affirming"}', "shim_releases_total"):
        assert count(after, name) == count(before, name) + 1
    assert 'route="/v1/attest"' in after
    assert "nothing" not in after  # a path that somebody made up is no label


# --- slow clients


@contextlib.contextmanager
def connected(running: Running) -> Iterator[socket.socket]:
    port = int(running.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        yield link


LIMITED = """
from shim.cli.main import main
from attestation.relying_party import server, web
from dataclasses import replace
import shim.cli.serving as serving
serving.Limits = lambda: web.Limits(body_seconds=0.5)
run = serving.run
serving.run = lambda app, where, *more: run(app, replace(where, **LIMITS), *more)
main()
"""


def limited(**limits: float) -> str:
    """Return a program that serves with other limits than the command has."""
    return LIMITED.replace("LIMITS", repr(limits))


def test_clients_that_are_slow_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(SECRET)
    with serve(
        "--policy", POLICY, "--resource", f"disk={tmp_path / 'disk'}", program=limited(head_seconds=0.5)
    ) as running:
        for sent, said in (
            (b"", b""),
            (b"POST /v1/attest HTTP/1.1\r\nHo", b""),
            (b"POST /v1/attest HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{", b" 408 "),
        ):
            with connected(running) as link:
                started = time.monotonic()
                link.sendall(sent)
                answer = b""
                with contextlib.suppress(ConnectionResetError):
                    while part := link.recv(4096):
                        answer += part
                        if b" 408 " in answer:
                            break
                assert said in answer, (sent, answer)
                assert 0.3 < time.monotonic() - started < 9
        with connected(running) as link:  # a second head that never ends
            link.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while b'"ok"}' not in answer:
                answer += link.recv(4096)
            started = time.monotonic()
            link.sendall(b"GET /")
            with contextlib.suppress(ConnectionResetError):
                assert link.recv(4096) == b""
            assert 0.3 < time.monotonic() - started < 9


def test_more_connections_than_are_allowed_are_told_so(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(SECRET)
    arguments = ("--policy", POLICY, "--resource", f"disk={tmp_path / 'disk'}")
    with serve(*arguments, program=limited(connections=20, head_seconds=60)) as running:
        with contextlib.ExitStack() as stack:
            for _ in range(25):
                stack.enter_context(connected(running))
            assert ask(f"{running.url}/health").status == 503
        until = time.monotonic() + 10
        while ask(f"{running.url}/health").status != 200:
            assert time.monotonic() < until


# --- limits of rate


def test_one_address_may_not_ask_without_end(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(SECRET)
    arguments = ("--policy", POLICY, "--resource", f"disk={tmp_path / 'disk'}", "--burst", "5")
    with serve(*arguments, rate="0.01") as running:
        answers = [ask(f"{running.url}/v1/challenge", {}) for _ in range(8)]
        assert [one.status for one in answers] == [200] * 5 + [429] * 3
        assert (answers[-1].json, answers[-1].headers["retry-after"]) == ({"error": "too often"}, "1")


def test_a_bucket_fills_with_time_and_each_network_has_its_own() -> None:
    now = [0.0]
    limit = RateLimit(2, 3, lambda: now[0])
    assert [limit.allows("192.0.2.1") for _ in range(4)] == [True, True, True, False]
    assert limit.allows("192.0.2.2")
    now[0] += 0.5
    assert [limit.allows("192.0.2.1") for _ in range(2)] == [True, False]
    now[0] += 1000
    assert [limit.allows("192.0.2.1") for _ in range(4)] == [True, True, True, False]
    assert network("2001:db8:1:2:3::4") == network("2001:db8:1:2:ffff::") != network("2001:db8:1:3::")
    assert network("::ffff:192.0.2.1") == "192.0.2.1"
    assert network("unknown") == "unknown"
    assert all(RateLimit(0, 1, lambda: 0.0).allows("a") for _ in range(9))


def test_very_many_addresses_fill_no_memory() -> None:
    limit = RateLimit(1, 1, lambda: 0.0)
    for number in range((1 << 16) + 500):
        limit.allows(str(number))
    assert len(limit._buckets) == 1 << 16


# --- TLS


def test_tls_and_what_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(SECRET)
    pem = fakes.certificate(tmp_path)
    arguments = ("--policy", POLICY, "--resource", f"disk={tmp_path / 'disk'}")
    with serve(*arguments, "--tls-certificate", pem, "--tls-key", pem) as running:
        assert running.url.startswith("https://")
        port = int(running.url.rpartition(":")[2])
        context = ssl.create_default_context(cafile=pem)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as link,
            context.wrap_socket(link, server_hostname="127.0.0.1") as tls,
        ):
            tls.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b" 200 " in tls.recv(4096)
        with connected(running) as link:  # no TLS
            link.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in link.recv(4096)
    (tmp_path / "no.pem").write_text("no certificate")
    refused = fakes.run_serve(*arguments, "--tls-certificate", tmp_path / "no.pem", "--tls-key", pem)
    assert refused.returncode == 1, refused.stderr
    assert "Traceback" not in refused.stderr


# --- the end


def test_what_was_begun_is_answered_and_nothing_new_is_taken(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(SECRET)
    arguments = ("--policy", POLICY, "--resource", f"disk={tmp_path / 'disk'}")
    with serve(*arguments) as running:
        machine = Machine()
        nonce = ask(f"{running.url}/v1/challenge", {}).json["nonce"]
        body = fakes.encoded(machine.request(nonce))
        head = b"POST /v1/attest HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with connected(running) as link:
            link.sendall(head + body[:100])
            time.sleep(0.2)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.4)
            with pytest.raises(OSError):  # noqa: PT011  # refused or reset
                socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=2).recv(
                    1
                )
            link.sendall(body[100:])
            answer = b""
            while part := link.recv(1 << 16):
                answer += part
        assert b" 200 " in answer.partition(b"\r\n")[0] + b" "
        assert machine.open(json.loads(answer.partition(b"\r\n\r\n")[2])) == SECRET
        assert running.process.wait(10) == 0


# --- the description


def test_the_description_is_valid_and_names_what_there_is(service: Running) -> None:
    document = ask(f"{service.url}/v1/openapi.json").json
    assert document == json.loads(json.dumps(openapi.DOCUMENT))
    validate(document)
    verdicts = document["components"]["schemas"]["Error"]["properties"]["verdict"]["enum"]
    assert set(verdicts) == {one.value for one in Verdict if one is not Verdict.AFFIRMING}


def test_the_service_keeps_to_its_description(service: Running, tmp_path: Path) -> None:
    token = attest(service.url, Machine()).json["token"]
    found = description.ask(service.url, tmp_path, examples=6, token=token)
    assert found.code == 0, found.said
    assert found.passed == found.cases > 100


def test_many_clients_at_once_get_each_their_own(service: Running) -> None:
    machines = [Machine() for _ in range(40)]
    gate = threading.Barrier(20)

    def one(machine: Machine) -> bytes:
        gate.wait()
        return machine.open(attest(service.url, machine).json)

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(one, machines)) == {SECRET}
