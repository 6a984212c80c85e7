"""A running service: its certificate is renewed, it is watched beside its work, and nothing is forgotten too early."""

from __future__ import annotations

import re
import signal
import socket
import ssl
from pathlib import Path

import pytest

from tests.fakes import relying_party as fakes
from tests.fakes.relying_party import POLICY, SECRET, Machine, Running, ask, attest, serve


def shown(running: Running, folder: Path) -> bytes:
    """Return the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = int(running.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as link,
        context.wrap_socket(link, server_hostname=None if folder.name == "x" else "localhost") as tls,
    ):
        found = tls.getpeercert(binary_form=True)
    assert found is not None
    return found


def until_said(running: Running, text: str) -> str:
    assert running.process.stderr is not None
    for line in running.process.stderr:
        running.said.append(line.rstrip("\n"))
        if text in line:
            return line
    pytest.fail(f"it never said {text!r}: {running.said}")


def test_a_new_certificate_is_shown_and_a_broken_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(SECRET)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        fakes.certificate(tmp_path / name)
    # As an orchestrator mounts it: a link that is moved from one folder to the next.
    (tmp_path / "now").symlink_to("one")
    pem = tmp_path / "now" / "tls.pem"
    arguments = (
        "--policy",
        POLICY,
        "--resource",
        f"disk={tmp_path / 'disk'}",
        "--tls-certificate",
        pem,
        "--tls-key",
        pem,
    )
    with serve(*arguments) as running:
        first = shown(running, tmp_path)
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "tls.pem").write_text("half of it")
        move(tmp_path, "broken")
        running.process.send_signal(signal.SIGHUP)
        assert "the certificate is shown that was: " in until_said(running, "certificate")
        assert shown(running, tmp_path) == first
        move(tmp_path, "two")
        running.process.send_signal(signal.SIGHUP)
        assert "a new certificate is shown" in until_said(running, "certificate")
        second = shown(running, tmp_path)
        assert second != first
        assert shown(running, Path("x")) == second  # also to who names no host
        running.process.send_signal(signal.SIGHUP)  # nothing changed
        assert shown(running, tmp_path) == second
        assert running.stop() == 0


def move(folder: Path, name: str) -> None:
    (folder / "next").symlink_to(name)
    (folder / "next").replace(folder / "now")


def test_who_watches_has_a_place_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(SECRET)
    arguments = (
        "--policy",
        POLICY,
        "--resource",
        f"disk={tmp_path / 'disk'}",
        "--monitor",
        "127.0.0.1:0",
        "--burst",
        "2",
    )
    with serve(*arguments, rate="0.01") as running:
        (watched,) = [re.sub(r".*watched at ", "", line) for line in running.said if "watched at" in line]
        for _ in range(9):
            for path in ("live", "health"):
                assert (ask(f"{watched}/{path}").status, ask(f"{watched}/{path}").json) == (
                    200,
                    {"status": "ok"},
                )
        attest(running.url, Machine())
        assert 'shim_attestations_total{verdict="affirming"} 1.0' in ask(f"{watched}/metrics").body.decode()
        assert ask(f"{watched}/v1/challenge", {}).status == 404
        for path in ("metrics", "health", "live"):
            assert ask(f"{running.url}/{path}").status in {404, 429}
        assert running.stop() == 0
        with pytest.raises(OSError):  # noqa: PT011  # it ended, too
            ask(f"{watched}/live")


def test_health_is_told_to_an_address_that_asked_too_often(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(SECRET)
    with serve(
        "--policy", POLICY, "--resource", f"disk={tmp_path / 'disk'}", "--burst", "1", rate="0.01"
    ) as running:
        assert [ask(f"{running.url}/v1/challenge", {}).status for _ in range(3)] == [200, 429, 429]
        assert [ask(f"{running.url}/{path}").status for path in ("health", "live", "health")] == [200] * 3
        assert ask(f"{running.url}/metrics").status == 429
