"""`shim fetch`, and what the other commands make of it: the real certificates, served by a real server."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import pytest
from click.testing import CliRunner, Result

from attestation import kinds
from attestation.intel import pcs
from attestation.simulated import collect
from attestation.store.entry import Kept
from attestation.store.store import Store
from attestation.wanted import Answer
from shim.cli import endorsing, fetch, inspect, main, policy, verify
from shim.errors import ShimError
from tests import vectors
from tests.fakes import intel
from tests.fakes.intel import NOW as INTEL_NOW, TCB_INFO, Intel
from tests.fakes.service import Question, Service, pem, serve
from tests.vectors import Case

ROOT = Path(__file__).resolve().parents[3]
QUOTE_TIME = "2026-03-01"
SNP = {case.id: case for case in vectors.load("snp")}
TDX = {case.id: case for case in vectors.load("dcap")}
SIENA, UP_TO_DATE = SNP.get("snp/siena-v5-live"), TDX.get("tdx/gtg-v5-uptodate")
needs_vectors = pytest.mark.skipif(SIENA is None or UP_TO_DATE is None, reason=vectors.ABSENT)


def run(command: click.Command, *arguments: str | Path) -> tuple[int, str, str]:
    """Return exit code, standard output and messages, as the program's top level makes them."""
    result: Result = CliRunner().invoke(
        command, [str(argument) for argument in arguments], standalone_mode=False
    )
    error = result.exception
    if isinstance(error, ShimError):
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
        return int(getattr(error, "exit_code", 1)), result.stdout, text
    if isinstance(error, click.ClickException):
        return error.exit_code, result.stdout, error.format_message()
    assert error is None or isinstance(error, SystemExit), error
    return int(result.return_value or 0), result.stdout, result.stderr


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the user of these tests has the store, without having said so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "shim" / "endorsements"


def answer(question: Question) -> None:
    """Answer as AMD and Intel answered, with what they served."""
    assert SIENA is not None
    assert UP_TO_DATE is not None
    path, found = question.path, json.loads(UP_TO_DATE.read("collateral"))

    def signed(member: str, name: str) -> bytes:
        return f'{{"{member}":{found[name]},"signature":"{found[name + "_signature"]}"}}'.encode()

    if path.endswith("/cert_chain"):
        question.answer(SIENA.read("chain"))
    elif path.startswith("/vcek/v1/Genoa/") and "SPL=" in path:
        question.answer(SIENA.read("vek"))
    elif "/tcb?" in path:
        chain = quote(found["tcb_info_issuer_chain"])
        question.answer(signed("tcbInfo", "tcb_info"), TCB_Info_Issuer_Chain=chain)
    elif "/qe/identity" in path:
        chain = quote(found["qe_identity_issuer_chain"])
        question.answer(signed("enclaveIdentity", "qe_identity"), SGX_Enclave_Identity_Issuer_Chain=chain)
    elif "/pckcrl" in path:
        chain = quote(found["pck_crl_issuer_chain"])
        question.answer(bytes.fromhex(found["pck_crl"]), SGX_PCK_CRL_Issuer_Chain=chain)
    elif path == "/IntelSGXRootCA.der":
        question.answer(bytes.fromhex(found["root_ca_crl"]))
    else:
        question.answer(status=404)


@pytest.fixture
def service() -> Iterator[Service]:
    with serve(answer) as served:
        yield served


def case(name: Case | None, role: str) -> Path:
    assert name is not None
    return name.files[role]


def mirrors(service: Service) -> tuple[str, ...]:
    return "--kds", service.url, "--pcs", service.url


@needs_vectors
def test_real_report_is_verified_by_what_was_fetched(service: Service, store: Path) -> None:
    report = case(SIENA, "report")
    code, output, message = run(inspect.command, report)
    assert (code, output.splitlines()[0]) == (14, "verdict: cannot tell")
    assert message.endswith(f"\nto fetch what is missing or too old: shim fetch {report}")
    code, output, _ = run(fetch.command, report, *mirrors(service))
    lines = output.splitlines()
    assert [line.split()[0] for line in lines[::2]] == ["stored", "stored", "failed"]
    assert "found status 404" in lines[-1]  # nobody has AMD's list among these files
    assert code == 1
    assert run(inspect.command, report)[:2][0] == 0
    code, _, message = run(inspect.command, report, "--no-store")
    assert (code, message.endswith(f"shim fetch {report}, and leave out --no-store")) == (14, True)
    assert run(inspect.command, report, "--store", store.parent)[0] == 14
    assert run(inspect.command, report, "--store", store)[0] == 0
    drafted = store.parent / "policy.toml"
    assert run(policy.command, "init", report, "-o", drafted)[0] == 0
    assert drafted.read_text().startswith("# Appraisal policy for AMD SEV-SNP")
    code, _, message = run(policy.command, "init", report, "--no-store")
    assert (code, "shim fetch" in message) == (14, True)
    code, _, message = run(inspect.command, report, "--endorsements", case(SIENA, "chain"))
    assert (code, message.endswith(f"shim fetch {report}, and leave out --endorsements")) == (14, True)


@needs_vectors
def test_real_quote_gets_its_status_from_what_was_fetched(service: Service) -> None:
    quote_path, at = case(UP_TO_DATE, "quote"), ("--at", QUOTE_TIME)
    code, output, _ = run(inspect.command, quote_path, "--tee", "tdx", *at)
    assert (code, "TCB's status, because no collateral" in output) == (0, True)
    assert run(fetch.command, quote_path, *mirrors(service), *at)[0] == 0
    code, output, _ = run(inspect.command, quote_path, "--tee", "tdx", *at, "--format", "json")
    assert (code, json.loads(output)["claims"]["tcb"]["status"]) == (0, "UpToDate")
    code, _, message = run(inspect.command, quote_path, "--tee", "tdx", "--at", "2026-06-01")
    assert code == 12
    assert f"shim fetch {quote_path}" in message


@needs_vectors
def test_verify_says_which_command_helps(service: Service, tmp_path: Path) -> None:
    example = (ROOT / "attestation" / "examples" / "policy-snp.toml").read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(re.sub(r'crl = "\w+"', 'crl = "required"', example))
    arguments = (case(SIENA, "report"), "--policy", policy, "--nonce", "11" * 32)
    code, _, message = run(verify.command, *arguments)
    assert (code, "shim fetch " in message) == (14, True)
    run(fetch.command, case(SIENA, "report"), *mirrors(service))
    code, _, message = run(verify.command, *arguments)  # the list is still missing, and required
    assert (code, "revocation list: found none" in message, "shim fetch " in message) == (14, True, True)


@needs_vectors
def test_advice_is_the_last_line_that_the_program_prints(capsys: pytest.CaptureFixture[str]) -> None:
    report = case(SIENA, "report")
    assert main.run(["inspect", str(report)]) == 14
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("shim: VCEK certificate: found none")
    assert lines[1:] == [f"shim: to fetch what is missing or too old: shim fetch {report}"]


@needs_vectors
def test_expired_collateral_is_never_stored(service: Service, store: Path) -> None:
    code, output, _ = run(fetch.command, case(UP_TO_DATE, "quote"), *mirrors(service), "--at", "2026-06-01")
    assert code == 1
    assert [line.split()[0] for line in output.splitlines()[::2]] == ["failed"] * 4
    assert "good until 2026-03" in output
    assert list(Store(store).everything()) == []


@needs_vectors
def test_archive_carries_a_store_to_where_no_network_is(
    service: Service, tmp_path: Path, store: Path
) -> None:
    at, archive, there = ("--at", QUOTE_TIME), tmp_path / "endorsements.tar", ("--store", tmp_path / "there")
    run(fetch.command, case(SIENA, "report"), case(UP_TO_DATE, "quote"), *mirrors(service), *at)
    assert run(fetch.command, "--export", archive)[::2] == (0, "shim: 6 endorsements\n")
    code, output, _ = run(fetch.command, "--import", archive, *there, *at)
    assert (code, output.count("stored")) == (0, 6)
    assert run(inspect.command, case(SIENA, "report"), *there)[0] == 0
    run(fetch.command, "--export", tmp_path / "again.tar", *there)
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    code, output, _ = run(
        fetch.command, "--import", archive, "--store", tmp_path / "late", "--at", "2026-06-01"
    )
    assert (code, output.count("stored"), output.count("failed")) == (1, 2, 4)
    assert len(list(Store(store).everything())) == 6


def test_archive_of_a_stranger_is_checked_again(tmp_path: Path) -> None:
    strange = Store(tmp_path / "strange")
    fake = Intel()
    body = intel.revocation_list(intel.PLATFORM_CA, "ca")
    issuers = pem(fake.ca.der(), fake.root.der())
    url = pcs.PckList("platform").url
    strange.keep(Kept(url, Answer(body, issuers), INTEL_NOW, INTEL_NOW, "source"))
    assert run(fetch.command, "--export", tmp_path / "a.tar", "--store", strange.root)[0] == 0
    code, output, _ = run(fetch.command, "--import", tmp_path / "a.tar", "--at", "2025-06-01")
    assert (code, output.split()[0]) == (1, "failed")
    assert "root of the chain" in output


def test_archive_with_an_unknown_name_is_malformed(tmp_path: Path) -> None:
    strange = Store(tmp_path / "strange")
    strange.keep(Kept("https://example.com/x", Answer(b"x"), INTEL_NOW, INTEL_NOW, "source"))
    run(fetch.command, "--export", tmp_path / "a.tar", "--store", strange.root)
    code, _, message = run(fetch.command, "--import", tmp_path / "a.tar")
    assert (code, "the URL of one of AMD's or Intel's" in message) == (10, True)


@needs_vectors
def test_offline_shows_what_would_be_asked_and_asks_nobody(service: Service) -> None:
    arguments = (case(SIENA, "report"), case(UP_TO_DATE, "quote"), "--early", *mirrors(service))
    code, output, _ = run(fetch.command, *arguments, "--offline", "--format", "json")
    lines = [json.loads(line) for line in output.splitlines()]
    assert (code, len(lines), {line["state"] for line in lines}) == (1, 9, {"missing"})
    assert all(line["asked"].startswith(service.url) for line in lines)
    assert all(line["url"].startswith("https://") for line in lines)
    assert service.asked == []


def test_names_stand_for_evidence(tmp_path: Path) -> None:
    chip = "ab" * 8
    named = (
        (
            "snp",
            "--product",
            "turin",
            "--chip-id",
            chip,
            "--tcb",
            "fmc=1,bootloader=2,tee=3,snp=4,microcode=5",
        ),
        ("snp", "--product", "Turin", "--chip-id", chip + "00" * 56, "--tcb", "0102030400000005"),
        (
            "snp",
            "--product",
            "Turin",
            "--chip-id",
            chip,
            "--tcb",
            "fmcSPL=1,blSPL=2,teeSPL=3,snpSPL=4,ucodeSPL=5",
        ),
    )
    for arguments in named:
        _, output, _ = run(fetch.command, *arguments, "--offline")
        assert f"Turin/{chip}?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=05" in output
    _, output, _ = run(fetch.command, "snp", "--product", "Siena", "--vlek", "--offline")
    assert "/vlek/v1/Genoa/cert_chain" in output
    _, output, _ = run(fetch.command, "sgx", "--fmspc", "00606a000000", "--early", "--offline")
    assert output.count("fmspc=00606A000000") == 2
    assert ("ca=platform" in output, "ca=processor" in output) == (True, True)
    del tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("snp",),
        ("tdx",),
        ("tdx", "--fmspc", "00"),
        ("tdx", "--fmspc", "zz" * 6),
        ("tdx", "--fmspc", "00" * 6, "--product", "Milan"),
        ("tdx", "--fmspc", "00" * 6, "--pcs", "http://a", "--pccs", "http://b"),
        ("tdx", "--fmspc", "00" * 6, "--pccs", "no-url"),
        ("snp", "--product", "Rome"),
        ("snp", "--product", "Milan", "--fmspc", "00" * 6),
        ("snp", "--product", "Milan", "--chip-id", "ab" * 64),
        ("snp", "--product", "Milan", "--tcb", "00" * 8),
        ("snp", "--product", "Milan", "--chip-id", "ab" * 8, "--tcb", "00" * 8),
        ("snp", "--product", "Milan", "--chip-id", "00" * 64, "--tcb", "00" * 8),
        ("snp", "--product", "Turin", "--chip-id", "ab" * 64, "--tcb", "00" * 8),
        ("snp", "--product", "Milan", "--chip-id", "ab" * 64, "--tcb", "bootloader=4"),
        (
            "snp",
            "--product",
            "Milan",
            "--chip-id",
            "ab" * 64,
            "--tcb",
            "bootloader=4,tee=0,snp=1,microcode=999",
        ),
        (
            "snp",
            "--product",
            "Milan",
            "--chip-id",
            "ab" * 64,
            "--tcb",
            "bootloader=4,tee=0,snp=1,microcode=1,x=1",
        ),
        ("snp", "--product", "Milan", "--chip-id", "ab" * 64, "--tcb", "bootloader=4,bootloader=4"),
        ("snp", "--product", "Milan", "--vlek", "--chip-id", "ab" * 64, "--tcb", "00" * 8),
        ("snp", "tdx", "--product", "Milan"),
        ("/no/such/file",),
        ("snp", "--product", "Milan", "--export", "x"),
        ("--import", "/no/such/file"),
        ("--max-time", "0", "snp", "--product", "Milan"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_apart_from_a_failure(arguments: tuple[str, ...]) -> None:
    assert run(fetch.command, *arguments)[0] == 2


def test_nothing_is_handed_out_for_a_simulation(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(collect.collect(bytes(64))[0])
    code, _, message = run(fetch.command, tmp_path / "x")
    assert (code, "nothing is handed out for it" in message) == (2, True)


def test_what_is_no_evidence_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    assert run(fetch.command, tmp_path / "x")[0] == 10


@pytest.mark.parametrize("case", vectors.cases("snp"))
def test_report_of_version_2_needs_its_product(case: Case) -> None:
    code, output, message = run(fetch.command, case.files["report"], "--offline")
    if case.read("report")[0] == 2:
        assert (code, "want --product NAME" in message) == (2, True)
        code, output, _ = run(fetch.command, case.files["report"], "--product", "Milan", "--offline")
    assert (code, "cert_chain" in output) == (1, True)


@pytest.mark.parametrize("case", vectors.cases("azure", role="tpm_quote"))
def test_evidence_of_azure_needs_what_its_hardware_needs(case: Case, tmp_path: Path) -> None:
    for role, name in (("hcl", "hcl_report.bin"), ("tpm_quote", "tpm_quote.json"), ("quote", "td_quote.bin")):
        if role in case.files:
            (tmp_path / name).write_bytes(case.read(role))
    code, output, _ = run(fetch.command, tmp_path, "--product", "Milan", "--offline")
    assert (code, "/vcek/v1/" in output or "/tdx/certification/v4/tcb" in output) == (1, True)


def test_missing_library_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['httpcore'] = None\n"
        "from shim.cli.main import run\n"
        "sys.exit(run(['fetch', 'snp', '--product', 'Milan']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "pip install 'tee-shim[fetch]'" in ran.stderr


# What the next TCB recovery will say


def test_early_set_that_says_something_else_is_said(tmp_path: Path) -> None:
    fake, store = Intel(), Store(tmp_path)
    later = {
        **TCB_INFO,
        "tcbEvaluationDataNumber": 19,
        "tcbLevels": [intel.level("OutOfDate", 3, "INTEL-SA-9")],
    }
    signer = pem(fake.signing.der(), fake.root.der())
    for early, info in ((False, TCB_INFO), (True, later)):
        made = replace(fake, tcb_info=info)
        names = (
            ("tcbInfo", pcs.TcbInfo("TDX", intel.FMSPC, early)),
            ("enclaveIdentity", pcs.QeIdentity("TDX", early)),
        )
        for (name, wanted), document in zip(names, made.documents(), strict=True):
            body = b'{"%s":%s,"signature":"%s"}' % (
                name.encode(),
                document.body,
                document.signature.hex().encode(),
            )
            store.keep(Kept(wanted.url, Answer(body, signer), INTEL_NOW, INTEL_NOW, "x"))
    above = pem(fake.ca.der(), fake.root.der())
    for one, body in zip((pcs.PckList("platform"), pcs.RootList()), fake.lists, strict=True):
        store.keep(Kept(one.url, Answer(body, above), INTEL_NOW, INTEL_NOW, "x"))
    kind, quoted = replace(kinds.KINDS["tdx"], roots=fake.roots()), fake.quote()
    lookup = endorsing.Lookup(kind=kind, data=quoted, evidence_path=tmp_path, store_path=tmp_path)
    found = lookup.endorsements(INTEL_NOW)
    assert len(found.early) == 2
    proven: Any = kind.authenticate(
        kind.parse(quoted), found, kind.roots, now=INTEL_NOW, skew=timedelta(0), crl_required=True, cache=None
    )
    assert proven.tcb.status.value == "UpToDate"
    assert proven.recovery.tcb.status.value == "OutOfDate"
    # What is too old is left out where nobody asked for it.
    assert lookup.endorsements(INTEL_NOW + timedelta(days=30)).early == ()
    assert replace(lookup, no_store=True).endorsements(INTEL_NOW).early == ()


# Verification has no network


@pytest.fixture
def without_sockets() -> Iterator[list[str]]:
    """Provide what tried to open a socket, which fails."""
    opened: list[str] = []

    def refuse(event: str, _arguments: tuple[object, ...]) -> None:
        if event.startswith("socket.") and active and threading.get_ident() == here:
            opened.append(event)
            raise OSError("this test has no network")

    active, here = [True], threading.get_ident()
    sys.addaudithook(refuse)  # it stays for ever, and does nothing once the test is over
    yield opened
    active.clear()


def test_the_guard_sees_sockets(without_sockets: list[str]) -> None:
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))
    assert without_sockets


@needs_vectors
@pytest.mark.parametrize("at", [QUOTE_TIME, "2026-06-01"])
def test_verification_opens_no_socket(without_sockets: list[str], store: Path, at: str) -> None:
    tdx = case(UP_TO_DATE, "quote")
    endorsements = ("--endorsements", case(UP_TO_DATE, "collateral"))
    for arguments in ((tdx, "--tee", "tdx"), (tdx, "--tee", "tdx", *endorsements), (case(SIENA, "report"),)):
        run(inspect.command, *arguments, "--at", at)
    policy = ROOT / "attestation" / "examples" / "policy-snp.toml"
    assert run(verify.command, case(SIENA, "report"), "--policy", policy, "--nonce", "11" * 32)[0] == 14
    run(fetch.command, tdx, "--offline")
    assert without_sockets == []
    assert not store.exists()


def test_verifier_does_not_even_load_the_network() -> None:
    program = (
        "import sys\n"
        "import attestation.appraise, attestation.files, attestation.needed, attestation.store.archive\n"
        "import shim.cli.verify, shim.cli.inspect, shim.cli.endorsing\n"
        "print([name for name in ('ssl', 'httpcore', 'http.client', 'attestation.fetch') "
        "if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"
