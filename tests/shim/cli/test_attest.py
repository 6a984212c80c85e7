"""`shim attest` as a user meets it: collected here, verified there; and what it refuses before it asks anybody."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from attestation.binding import report_data
from attestation.errors import CollectError
from shim.cli import attest, verify
from shim.cli.doctor import attestation_findings
from shim.cli.guest import entry_name, guest, quote_by_command
from shim.errors import ShimError
from tests.fakes.guest import FakeGuest, SevGuest, Tsm

EXAMPLES = Path(__file__).resolve().parents[3] / "attestation" / "examples"
NONCE, KEY, PLAN = "11" * 32, "22" * 32, "33" * 32
BOUND = ("--nonce", NONCE, "--public-key", KEY, "--plan-digest", PLAN)
SIMULATED = ("--tee", "simulated")


def run(command: click.Command, *arguments: str | Path) -> tuple[int, str]:
    """Return exit code and everything that was said, as the program's top level says it."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if isinstance(result.exception, ShimError):
        return getattr(result.exception, "exit_code", 1), str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("bound", [("--nonce", NONCE), BOUND])
def test_what_is_collected_here_is_verified_there(tmp_path: Path, bound: tuple[str, ...]) -> None:
    evidence, certificates = tmp_path / "evidence", tmp_path / "chain.pem"
    code, said = run(attest.command, *SIMULATED, *bound, "-o", evidence, "--certificates", certificates)
    assert (code, said.splitlines()[0][:16]) == (0, "shim: SIMULATED:")
    assert f"1184 bytes of evidence (simulated) from the simulation: {evidence}" in said
    policy = ("--policy", EXAMPLES / "policy-simulated.toml", "--endorsements", certificates)
    assert run(verify.command, evidence, *policy, *bound, "--format", "json")[0] == 0
    assert run(verify.command, evidence, *policy, "--nonce", "44" * 32)[0] == 15


def test_all_64_bytes_may_be_given(tmp_path: Path) -> None:
    data = report_data(bytes(32), None, bytes(32))
    assert run(attest.command, *SIMULATED, "--report-data", data.hex(), "-o", tmp_path / "one")[0] == 0
    assert run(attest.command, *SIMULATED, "--nonce", "00" * 32, "-o", tmp_path / "two")[0] == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes()[0x50:0x90] == data


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "evidence has to be bound"),
        (("--public-key", KEY), "evidence has to be bound"),
        (("--report-data", "11" * 64, "--nonce", NONCE), "--report-data stands for"),
        (("--report-data", "11" * 32), "found 32 bytes, want 64"),
        (("--nonce", "x"), "hexadecimal digits"),
        (("--nonce", NONCE, "--tee", "tpm"), "mean nothing without each other"),
        (("--nonce", NONCE, "--attestation-key", "0x81000003"), "mean nothing without each other"),
        (("--nonce", NONCE, "--attestation-key", "0x40000001"), "want 0x81000000 to 0x81ffffff"),
        (("--nonce", NONCE, "--attestation-key", "key"), "want a number such as"),
        (("--nonce", NONCE, "--vmpl", "4"), "4"),
        (("--nonce", NONCE, "--tee", "sgx"), "sgx"),
        (("--nonce", NONCE, "--td-quote", "a", "--td-quote-command", "b"), "stand for each other"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_asked(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    code, said = run(attest.command, "-o", tmp_path / "evidence", *SIMULATED, *arguments)
    assert (code, text in said) == (2, True), said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--event-log", "log"), "event log: found evidence of simulated"),
        (("--vmpl", "1"), "privilege level: found one for simulated"),
        (("--td-quote", "/no/such/file"), "No such file"),
    ],
)
def test_nothing_is_written_where_a_part_cannot_be_had(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    code, said = run(attest.command, "-o", tmp_path / "evidence", *SIMULATED, "--nonce", NONCE, *arguments)
    assert (code != 0, text in said) == (True, True), said
    assert list(tmp_path.iterdir()) == []


# The quote of a trust domain, by a program


def test_program_makes_the_quote_of_a_report(tmp_path: Path) -> None:
    program = tmp_path / "a program"
    program.write_text("import sys; sys.stdout.buffer.write(b'quote of ' + sys.stdin.buffer.read())")
    assert quote_by_command(f"{sys.executable} '{program}'")(b"report") == b"quote of report"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("false", "exit code 1, 0 bytes"),
        ("true", "exit code 0, 0 bytes"),
        ("/no/such/program", "No such file"),
        ("", "--td-quote-command"),
        ("unclosed '", "No closing quotation"),
        ("head -c 2000000 /dev/zero", "2000000 bytes"),
    ],
)
def test_program_that_makes_none_is_an_error(command: str, text: str) -> None:
    with pytest.raises(CollectError, match=text):
        quote_by_command(command)(b"report")


# This machine


def test_names_of_requests_are_never_the_same() -> None:
    assert len({entry_name() for _ in range(100)}) == 100


def test_host_is_connected_by_vsock_or_says_why_not() -> None:
    with pytest.raises(OSError, match=r"."):
        guest().connect(2, 1)  # no service has this port


def test_doctor_says_what_is_there_and_what_is_not() -> None:
    machine = FakeGuest(tsm=Tsm(), ioctls={"dev/sev-guest": SevGuest()})
    found = {one.subject: (one.present, one.found) for one in attestation_findings(machine, "entry")}
    assert found["TEE"] == (True, "snp")
    assert found["configfs-tsm"] == (True, "sev_guest")
    assert found["/dev/sev-guest"] == (True, "yes")
    assert found["/dev/nsm"] == (False, "no")
    bare = {one.subject: one.present for one in attestation_findings(FakeGuest(), "entry")}
    assert set(bare.values()) == {False}
    assert json.dumps(sorted(bare)) == json.dumps(sorted(found))
