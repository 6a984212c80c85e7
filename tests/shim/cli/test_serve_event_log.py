"""`shim attest --url` sends the firmware's log, and the relying party holds it against the registers that were signed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attestation.client import RelyingPartyRefusalError
from attestation.collect import Collected
from attestation.errors import CollectError
from attestation.eventlog.collect import TPM_LOG, event_log
from attestation.verdict import Verdict
from shim.cli.attest_url import Asked, attest
from tests.attestation.eventlog.test_log import event, header
from tests.attestation.tpm.test_tpm import STRICT
from tests.fakes.guest import FakeGuest
from tests.fakes.policies import changed, toml
from tests.fakes.relying_party import SECRET, Running, serve
from tests.fakes.tpm import Tpm

LOG = header() + event(4, b"a boot loader") + event(9, b"a kernel")


def register(data: bytes) -> bytes:
    return hashlib.sha256(bytes(32) + hashlib.sha256(data).digest()).digest()


MEASURED = dict.fromkeys((*range(10), 14), bytes(32)) | {
    4: register(b"a boot loader"),
    9: register(b"a kernel"),
}
PCRS = {f"pcr{number}": "unchecked" for number in range(16)} | {
    f"pcr{number}": [MEASURED[number].hex()] for number in (4, 8, 9)
}


def collect(data: bytes) -> Collected:
    quote = Tpm(measured=MEASURED, extra_data=hashlib.sha256(data).digest())
    return Collected("tpm", quote.evidence(), "a TPM with a key of ours")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("log")
    free = changed("ak.key", [Tpm().name().hex()], changed("pcrs", PCRS, STRICT))
    values = {**free, "binding": "shim", "tpm": dict.fromkeys(("firmware_version", "clock", "resets", "restarts", "clock_safe"), "unchecked")}  # fmt: skip
    (folder / "tpm.toml").write_text(toml(values))
    (folder / "disk").write_bytes(SECRET)
    with serve("--policy", folder / "tpm.toml", "--resource", f"disk={folder / 'disk'}") as made:
        yield made


def asked(running: Running, output: Path, log: Callable[[str], bytes] | None) -> list[str]:
    """Return what the command says."""
    _, said = attest(Asked(running.url, "disk", str(output), None, None, None, bytes(32), log), collect)
    return said


def test_a_log_is_sent_with_the_evidence_that_it_explains(running: Running, tmp_path: Path) -> None:
    machine = FakeGuest(files={TPM_LOG: LOG})
    said = asked(running, tmp_path / "out", lambda kind: event_log(machine, kind))
    assert said == [
        f"{len(LOG)} bytes of event log are sent with it",
        f"{len(SECRET)} bytes of disk, version 1: {tmp_path / 'out'}",
    ]
    assert (tmp_path / "out").read_bytes() == SECRET


def test_a_log_that_leads_elsewhere_is_refused(running: Running, tmp_path: Path) -> None:
    for log in (LOG + event(4, b"more"), header(), b"no log"):
        with pytest.raises(RelyingPartyRefusalError) as caught:
            asked(running, tmp_path / "out", lambda _, log=log: log)  # type: ignore[misc]
        want = Verdict.MALFORMED if log == b"no log" else Verdict.NOT_AUTHENTIC
        assert caught.value.exit_code == want.exit_code
    assert not (tmp_path / "out").exists()


def test_a_log_that_cannot_be_read_is_said_and_not_sent(running: Running, tmp_path: Path) -> None:
    for machine in (FakeGuest(), FakeGuest(files={TPM_LOG: b"x"}, denied=frozenset({TPM_LOG}))):
        with pytest.raises(CollectError):
            event_log(machine, "tpm")
        said = asked(running, tmp_path / "out", lambda kind, at=machine: event_log(at, kind))  # type: ignore[misc]
        assert said[0].startswith(f"no event log is sent: /{TPM_LOG}: found")
    said = asked(running, tmp_path / "out", None)
    assert len(said) == 1  # asked not to
