"""A real TPM in software, asked by the usual commands: its quotes are affirmed, and explained by a log of what was extended."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from attestation import files
from attestation.appraise import appraise
from attestation.binding import Shim, report_data
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError
from attestation.eventlog.log import parse as parse_log
from attestation.tpm import evidence
from attestation.verdict import Verdict
from tests.attestation.eventlog.test_log import event, header
from tests.attestation.tpm.test_tpm import STRICT
from tests.fakes.aws import NOW
from tests.fakes.policies import changed, policy

NEEDED = ("swtpm", "tpm2_createprimary", "tpm2_create", "tpm2_pcrextend", "tpm2_quote", "tpm2_flushcontext")
MISSING = [one for one in NEEDED if shutil.which(one) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (swtpm, tpm2-tools)"
)

NONCE = bytes(range(32))
BOUND = hashlib.sha256(report_data(NONCE, None, bytes(32))).digest()
BOOTED = {4: (b"a boot loader",), 8: (b"a command line", b"another"), 9: (b"a kernel",)}
ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"


class Tpm:
    """A running TPM; `run` gives it one command."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = environment

    def run(self, *command: str) -> None:
        for one in (command, ("tpm2_flushcontext", "-t")):  # without a manager of its few places for keys
            subprocess.run(
                one, cwd=self.directory, env=self.environment, check=True, capture_output=True, timeout=20
            )

    def quote(self, scheme: str, bank: str = "sha256") -> bytes:
        """Return a quote by a new key, as the commands write it."""
        self.run("tpm2_createprimary", "-Q", "-C", "e", "-G", "ecc", "-c", "primary.ctx")
        create = ("tpm2_create", "-Q", "-C", "primary.ctx", "-G", scheme, "-a", ATTRIBUTES)
        self.run(*create, "-u", "ak.pub", "-r", "ak.priv", "-c", "ak.ctx")
        named, digest = scheme.split(":")[1].split("-")
        self.run(
            "tpm2_quote", "-Q", "-c", "ak.ctx", "--scheme", named, "-g", digest, "-l", f"{bank}:" + ",".join(map(str, range(16))),
            "-q", BOUND.hex(), "-m", "quote.msg", "-s", "quote.sig", "-o", "quote.pcrs", "-F", "values",
        )  # fmt: skip
        return files.read_evidence(self.directory)


def free_ports() -> tuple[int, int]:
    """Return two ports in a row, as the library expects them."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port, port + 1
    pytest.fail("no two free ports in a row")


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpm]:
    directory = tmp_path_factory.mktemp("tpm")
    port, control = free_ports()
    process = subprocess.Popen(
        [
            "swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}", "--flags", "not-need-init,startup-clear",
            "--server", f"type=tcp,port={port},bindaddr=127.0.0.1",
            "--ctrl", f"type=tcp,port={control},bindaddr=127.0.0.1",
        ]
    )  # fmt: skip
    running = Tpm(directory, {**os.environ, "TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={port}"})
    try:
        for _ in range(50):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", control)) == 0:
                    break
            time.sleep(0.1)
        for number, events in BOOTED.items():
            for data in events:
                digests = f"{number}:sha256={hashlib.sha256(data).hexdigest()},sha384={hashlib.sha384(data).hexdigest()}"
                running.run("tpm2_pcrextend", digests)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=10)


def replayed(bank: str) -> dict[int, bytes]:
    values = dict.fromkeys(range(16), bytes(hashlib.new(bank).digest_size))
    for number, events in BOOTED.items():
        for data in events:
            values[number] = hashlib.new(bank, values[number] + hashlib.new(bank, data).digest()).digest()
    return values


def rules(data: bytes, bank: str = "sha256") -> dict[str, object]:
    key = evidence.parse(data).key.name.hex()
    registers = {f"pcr{number}": [value.hex()] for number, value in replayed(bank).items()}
    state = dict.fromkeys(("firmware_version", "clock", "resets", "restarts"), "unchecked") | {
        "clock_safe": "set"
    }
    return {
        **STRICT,
        "binding": "shim",
        "ak": {"key": [key], "root": "unchecked"},
        "pcrs": registers,
        "tpm": state,
    }


LOG = header() + b"".join(event(number, data) for number, events in BOOTED.items() for data in events)
QUESTION = Shim(NONCE, None, bytes(32))


@pytest.mark.parametrize(
    ("scheme", "bank"),
    [
        ("rsa2048:rsassa-sha256:null", "sha256"),
        ("rsa2048:rsapss-sha256:null", "sha256"),
        ("ecc256:ecdsa-sha256:null", "sha256"),
        ("ecc384:ecdsa-sha384:null", "sha256"),
        ("ecc384:ecdsa-sha384:null", "sha384"),
    ],
)
def test_a_real_quote_is_affirmed_and_its_log_explains_it(tpm: Tpm, scheme: str, bank: str) -> None:
    data = tpm.quote(scheme, bank)
    result = appraise(
        data, Endorsements(), policy(rules(data, bank)), binding=QUESTION, now=NOW, event_log=LOG
    )
    assert result.claims is not None
    explained = result.claims["event_log"]
    assert isinstance(explained, dict)
    assert explained["unexplained"] == []


def test_a_real_quote_for_another_question_or_state_is_refused(tpm: Tpm) -> None:
    data = tpm.quote("ecc256:ecdsa-sha256:null")
    values = rules(data)
    wrong: list[tuple[dict[str, object], Shim, bytes, Verdict]] = [
        (values, Shim(bytes(32), None, bytes(32)), LOG, Verdict.WRONG_BINDING),
        (changed("pcrs.pcr4", ["00" * 32], values), QUESTION, LOG, Verdict.POLICY_MISMATCH),
        (changed("ak.key", ["00" * 34], values), QUESTION, LOG, Verdict.NOT_AUTHENTIC),
        (values, QUESTION, LOG + event(4, b"something else"), Verdict.NOT_AUTHENTIC),
        (values, QUESTION, header(), Verdict.NOT_AUTHENTIC),
    ]
    assert parse_log(LOG).events
    for rule, question, log, verdict in wrong:
        with pytest.raises(AppraisalError) as caught:
            appraise(data, Endorsements(), policy(rule), binding=question, now=NOW, event_log=log)
        assert caught.value.result.verdict is verdict


def test_a_real_key_that_signs_anything_is_refused(tpm: Tpm) -> None:
    tpm.run("tpm2_createprimary", "-Q", "-C", "e", "-G", "ecc", "-c", "primary.ctx")
    free = ATTRIBUTES.replace("restricted|", "")
    tpm.run(
        "tpm2_create", "-Q", "-C", "primary.ctx", "-G", "ecc256:ecdsa-sha256", "-a", free,
        "-u", "ak.pub", "-r", "ak.priv", "-c", "ak.ctx",
    )  # fmt: skip
    quoted = ("-m", "quote.msg", "-s", "quote.sig", "-o", "quote.pcrs", "-F", "values")
    tpm.run("tpm2_quote", "-Q", "-c", "ak.ctx", "-l", "sha256:4,8,9", "-q", BOUND.hex(), *quoted)
    data = files.read_evidence(tpm.directory)
    with pytest.raises(AppraisalError) as caught:
        appraise(data, Endorsements(), policy(rules(data)), binding=QUESTION, now=NOW)
    assert caught.value.mismatches[0].field == "attestation key"
