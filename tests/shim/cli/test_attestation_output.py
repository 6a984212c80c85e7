"""What a person sees of claims and of results, in a file, in a pipe and on a terminal."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path

import pytest

from shim.cli.attestation_output import show_authentic
from tests import vectors

ROOT = Path(__file__).resolve().parents[3]
# What neither the question nor its answer has to do with takes as long to load as all the rest.
NOT_LOADED = ("rich", "tomllib", "attestation.policy_file", "attestation.result", "attestation.snp.report",
              "attestation.eventlog.log", "attestation.tpm.credential", "iced_x86", "elftools")  # fmt: skip


def shown(claimed: Mapping[str, object], capsys: pytest.CaptureFixture[str]) -> list[str]:
    show_authentic("tdx", claimed, "text", simulated=False, lists_checked=True)  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_two_columns_of_which_the_second_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown({"name": "short", "a.longer": "word " * 40, "digest": "ab" * 48, "none": None}, capsys)
    assert lines[:3] == ["verdict: authentic", "claims", "name      short"]
    assert len(lines[3]) <= 120
    assert lines[4].startswith(" " * 10 + "word")
    assert [line.split() for line in lines[5:]] == [["digest", "ab" * 32], ["ab" * 16], ["none", "none"]]
    assert not any(line.endswith(" ") for line in lines)


def test_no_claims(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown({}, capsys) == ["verdict: authentic", "claims"]


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b2J", "\x07", "\r", "\x00", "\u202e", "\udcff", "\x85"])
def test_no_claim_steers_a_terminal(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown({"name": f"a{hostile}b", f"k{hostile}": "c"}, capsys)
    assert all(character.isprintable() for line in lines for character in line)
    assert any(line.startswith("name") and "a\\" in line for line in lines)


def inspected(*words: str) -> list[str]:
    case = next((one for one in vectors.load("dcap") if one.id == "tdx/phala-v4-uptodate"), None)
    if case is None or case.time is None:
        pytest.skip("real evidence is absent")
    files = [str(case.files["quote"]), "--endorsements", str(case.files["collateral"])]
    return ["inspect", *files, "--tee", "tdx", "--at", case.time.isoformat(), *words]


def command(words: list[str], then: str = "") -> list[str]:
    return [
        sys.executable,
        "-c",
        f"from shim.cli.main import run\nimport sys\nrun(sys.argv[1:])\n{then}",
        *words,
    ]


def test_an_inspection_loads_what_it_needs(tmp_path: Path) -> None:
    then = f"print([one for one in {NOT_LOADED!r} if one in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        command(inspected(), then), capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.startswith("verdict: authentic\n")
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(("environment", "wanted"), [({}, "colours"), ({"NO_COLOR": "1"}, "none")])
def test_on_a_terminal(environment: dict[str, str], wanted: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        command(inspected()), stdout=theirs, stderr=theirs, cwd=tmp_path,
        env={**clean, **environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert process.wait() == 0
    lines = text.decode().splitlines()
    assert (lines[0] == "verdict: \x1b[32m\x1b[1mauthentic\x1b[0m") is (wanted == "colours")
    assert (b"\x1b" in text) is (wanted == "colours")
    plain = subprocess.run(
        ["sed", "s/\x1b\\[[0-9;]*m//g"], input=text.decode(), capture_output=True, text=True, check=True
    )
    assert max(map(len, plain.stdout.splitlines())) <= 100
