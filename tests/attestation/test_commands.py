"""`shim inspect` and `shim verify` as a user meets them: files in, text and exit code out."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import jwt
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from attestation import kinds
from attestation.binding import report_data
from attestation.simulated import collect
from shim.cli import inspect, policy, verify
from shim.cli.arguments import KINDS
from shim.errors import ShimError
from tests import vectors
from tests.vectors import Case

EXAMPLES = Path(__file__).resolve().parents[2] / "attestation" / "examples"
NONCE, KEY, PLAN = "11" * 32, "22" * 32, "33" * 32
SIMULATED = ("--policy", str(EXAMPLES / "policy-simulated.toml"))


def run(command: click.Command, *arguments: str | Path) -> tuple[int, str, str]:
    """Return exit code, standard output and message, as the program's top level makes them."""
    result: Result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if isinstance(result.exception, ShimError):
        return getattr(result.exception, "exit_code", 1), result.stdout, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def no_store_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    data = report_data(bytes.fromhex(NONCE), bytes.fromhex(KEY), bytes.fromhex(PLAN))
    path = tmp_path / "evidence.bin"
    path.write_bytes(collect.collect(data)[0])
    return path


BOUND = ("--nonce", NONCE, "--public-key", KEY, "--plan-digest", PLAN)


def test_verify_affirms_and_says_simulated(simulated: Path) -> None:
    code, output, _ = run(verify.command, simulated, *SIMULATED, *BOUND)
    assert code == 0
    assert output.startswith("SIMULATED: this proves nothing about any hardware\nverdict: affirming\n")
    assert "unchecked: crl, report.host_data" in output


def test_verify_prints_json(simulated: Path) -> None:
    code, output, _ = run(verify.command, simulated, *SIMULATED, *BOUND, "--format", "json")
    value = json.loads(output)
    assert (code, value["verdict"], value["tee"]) == (0, "affirming", "SIMULATED")


@pytest.mark.parametrize("output", ["table", "json"])
def test_verify_prints_the_full_result_of_a_refusal(simulated: Path, output: str) -> None:
    arguments = ("--nonce", NONCE, "--format", output)
    code, text, message = run(verify.command, simulated, *SIMULATED, *arguments)
    assert code == 15
    assert "SIMULATED" in text
    assert "report.report_data" in text
    assert message.startswith("SIMULATED: stale nonce or wrong binding: report.report_data: found")


EAR_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(EAR_KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


@pytest.mark.parametrize(("bound", "code"), [(BOUND, 0), (("--nonce", NONCE), 15)])
def test_verify_writes_a_token_of_every_outcome(
    simulated: Path, key: Path, tmp_path: Path, bound: tuple[str, ...], code: int
) -> None:
    token = tmp_path / "token"
    said = ("--ear", token, "--ear-key", key, "--ear-lifetime", "60")
    assert run(verify.command, simulated, *SIMULATED, *bound, *said)[0] == code
    found = jwt.decode(token.read_text().strip(), EAR_KEY.public_key(), algorithms=["ES256"])
    assert found["eat_nonce"] == "ERERERERERERERERERERERERERERERERERERERERERE"
    assert found["exp"] - found["iat"] == 60
    appraisal = found["submods"]["SIMULATED"]
    assert appraisal["ear.veraison.policy-claims"]["verdict"] == ("affirming" if code == 0 else "stale nonce or wrong binding")  # fmt: skip
    assert appraisal["ear.status"] == "contraindicated"


@pytest.mark.parametrize(("profile", "claim"), [("ietf", "ear_verifier_id"), ("trustee", "ear.verifier-id")])
def test_a_token_is_spelled_as_was_asked_for(simulated: Path, key: Path, profile: str, claim: str) -> None:
    said = ("--ear", "-", "--ear-key", key, "--ear-profile", profile, "--at", "2026-01-01T00:00:00Z")
    done = subprocess.run(
        [sys.executable, "-c", "from shim.cli.main import main; main()", "verify", str(simulated), *SIMULATED, *BOUND, *map(str, said)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    found = jwt.decode(done.stdout.split()[0], options={"verify_signature": False})
    assert (found["iat"], found[claim]["developer"]) == (1767225600, "tee-shim")


@pytest.mark.parametrize("arguments", [("--ear", "token"), ("--ear-key", "/dev/null")])
def test_a_token_without_a_key_is_wrong_usage(simulated: Path, arguments: tuple[str, ...]) -> None:
    assert run(verify.command, simulated, *SIMULATED, *BOUND, *arguments)[0] == 2


def test_a_key_that_signs_nothing_is_said_before_anything_is_judged(simulated: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("no key")
    arguments = ("--ear", tmp_path / "token", "--ear-key", key)
    code, output, message = run(verify.command, simulated, *SIMULATED, *BOUND, *arguments)
    assert (code, output) == (2, "")
    assert message.startswith(f"{key}: found no private key, want a private key on P-256")
    assert not (tmp_path / "token").exists()


def test_verify_without_a_nonce_that_the_policy_wants_is_refused(simulated: Path) -> None:
    assert run(verify.command, simulated, *SIMULATED)[0] == 15


def test_verify_for_hardware_refuses_the_simulation(simulated: Path) -> None:
    accepted = ("--policy", EXAMPLES / "policy-snp.toml")
    endorsements = simulated.with_suffix(".pem")
    from attestation.simulated.chain import PEM  # noqa: PLC0415  # one use

    endorsements.write_bytes(PEM)
    assert run(verify.command, simulated, *accepted, *BOUND, "--endorsements", endorsements)[0] == 11


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonce", "11"),
        ("--nonce", "zz" * 32),
        ("--report-data", "11" * 32),
        ("--report-data", "11" * 64, "--nonce", NONCE),
        ("--public-key", KEY),
        ("--plan-digest", PLAN),
        ("--at", "yesterday"),
        ("--format", "xml"),
        ("--endorsements", "/no/such/file"),
    ],
)
def test_wrong_usage_is_told_apart_from_a_refusal(simulated: Path, arguments: tuple[str, ...]) -> None:
    assert run(verify.command, simulated, *SIMULATED, *arguments)[0] == 2


def test_policy_that_cannot_be_used_is_wrong_usage(simulated: Path, tmp_path: Path) -> None:
    for content in (b"tee = 1\n", b"\xff\xfe", b"#" * (2 << 20)):
        policy = tmp_path / "policy.toml"
        policy.write_bytes(content)
        code, output, message = run(verify.command, simulated, "--policy", policy, *BOUND)
        assert (code, output) == (2, "")
        assert message.startswith(f"{policy}:1: ")


def test_inspect_of_the_simulation_has_to_be_asked_for(simulated: Path) -> None:
    code, output, _ = run(inspect.command, simulated, "--tee", "simulated")
    assert (code, output.splitlines()[:2]) == (
        0,
        ["SIMULATED: this proves nothing about any hardware", "verdict: authentic"],
    )
    code, output, _ = run(inspect.command, simulated)
    assert (code, output.splitlines()[:2]) == (
        14,
        ["SIMULATED: this proves nothing about any hardware", "verdict: cannot tell"],
    )


def test_inspect_prints_json(simulated: Path) -> None:
    value = json.loads(run(inspect.command, simulated, "--tee", "simulated", "--format", "json")[1])
    assert (value["tee"], value["verdict"]) == ("SIMULATED", "authentic")
    assert value["claims"]["report"]["measurement"] == collect.MEASUREMENT.hex()
    value = json.loads(run(inspect.command, simulated, "--format", "json")[1])
    assert (value["simulated"], value["verdict"]) == (True, "cannot tell")
    assert value["unproven_claims"]["report"]["vmpl"] == 0


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1184), b"\2\0\0\0" + bytes(1181)])
def test_inspect_refuses_what_is_no_evidence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "evidence"
    path.write_bytes(content)
    code, output, _ = run(inspect.command, path)
    assert (code, output) == (10, "")


def test_huge_file_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    for command, arguments in ((inspect.command, ()), (verify.command, SIMULATED)):
        start = time.perf_counter()
        code, _, message = run(command, path, *arguments)
        assert time.perf_counter() - start < 0.1
        assert code == 10
        assert "1073741824 bytes" in message


def test_huge_endorsement_is_refused_by_name(simulated: Path, tmp_path: Path) -> None:
    path = tmp_path / "huge.pem"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    code, _, message = run(inspect.command, simulated, "--endorsements", tmp_path)
    assert code == 10
    assert "huge.pem" in message


def test_modules_load_without_cryptography_and_rich() -> None:
    program = (
        "import sys; import shim.cli.inspect, shim.cli.verify; "
        "print([name for name in ('cryptography', 'rich', 'attestation') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("case", vectors.cases("snp", "snp-parse"))
def test_inspect_of_real_evidence_ends_with_the_code_of_its_verdict(case: Case) -> None:
    supplied = [case.files[role] for role in ("vek", "chain") if role in case.files]
    arguments = [part for path in supplied for part in ("--endorsements", path)]
    at = "2024-06-01" if case.time is None else case.time.isoformat()
    code, output, _ = run(inspect.command, case.files["report"], *arguments, "--at", at)
    codes = {"invalid: VCEK": 11, "invalid: VLEK": 12, "invalid: 1185": 10, "parses; VCEK ": 14}
    assert code == codes.get(case.expected[:13], 0)
    assert ("authentic" in output) == (code in {0, 11})


@pytest.mark.parametrize("case", vectors.cases("snp"))
def test_directory_of_endorsements_is_searched(case: Case) -> None:
    roots = vectors.ROOT / "roots" / "amd"
    folder = case.files["report"].parent
    assert case.time is not None
    arguments = ("--endorsements", roots, "--endorsements", folder, "--at", case.time.isoformat())
    code = run(inspect.command, case.files["report"], *arguments)[0]
    assert (code == 0) == case.expected.startswith("valid")


@pytest.mark.parametrize("case", vectors.cases("dcap", "nitro", "nvidia"))
def test_inspect_says_of_which_kind_evidence_is(case: Case) -> None:
    role = next(role for role in ("quote", "doc", "evidence") if role in case.files)
    code, _, message = run(inspect.command, case.files[role])
    kind = {"dcap": case.id.split("/")[0]}.get(case.kind, case.kind)
    assert code == 2
    assert f"it can be read as {kind}: --tee {kind}" in message


@pytest.mark.parametrize("case", vectors.cases("dcap", role="collateral"))
def test_inspect_tells_how_old_a_platform_is(case: Case) -> None:
    arguments = (
        "--tee",
        case.id.split("/")[0],
        "--endorsements",
        case.files["collateral"],
        "--format",
        "json",
    )
    assert case.time is not None
    code, output, _ = run(inspect.command, case.files["quote"], "--at", case.time.isoformat(), *arguments)
    found = json.loads(output)
    if case.expected.startswith("valid"):
        assert (code, found["verdict"]) == (0, "authentic")
        assert found["claims"]["tcb"]["status"] in case.expected
        assert found["claims"]["report"]["debug"] == ("DEBUG" in case.expected)
    else:
        assert (
            code
            == {"no TCB": 16, "tcbInfo": 12}[
                next(text for text in ("no TCB", "tcbInfo") if text in case.expected)
            ]
        )
        assert found["unproven_claims"]["tee"] == "TDX"


@pytest.mark.parametrize("case", vectors.cases("azure", role="quote"))
def test_inspect_takes_a_directory_of_parts(case: Case, tmp_path: Path) -> None:
    for role, name in (("hcl", "hcl_report.bin"), ("tpm_quote", "tpm_quote.json"), ("quote", "td_quote.bin")):
        (tmp_path / name).write_bytes(case.read(role))
    assert case.time is not None
    at = case.time.isoformat()
    code, output, _ = run(inspect.command, tmp_path, "--tee", "azure-tdx", "--at", at, "--format", "json")
    assert (code, json.loads(output)["claims"]["vm"]["secure_boot"]) == (0, True)
    (tmp_path / "tpm_quote.json").unlink()
    assert run(inspect.command, tmp_path, "--tee", "azure-tdx", "--at", at)[0] == 10


@pytest.mark.parametrize("case", vectors.cases("ccel", role="quote"))
def test_inspect_holds_an_event_log_against_the_registers(case: Case) -> None:
    log = (
        "--event-log",
        case.files["log"],
        "--tee",
        "tdx",
        "--at",
        "2026-05-01T00:00:00Z",
        "--format",
        "json",
    )
    code, output, message = run(inspect.command, case.files["quote"], *log)
    if "[True, True, True, True]" in case.expected:
        assert (code, json.loads(output)["claims"]["event_log"]["unexplained"]) == (0, [])
    else:
        assert (code, message[:15]) == (11, "event log.rtmr2")


def test_policy_init_writes_a_policy_that_verify_affirms(simulated: Path, tmp_path: Path) -> None:
    written = tmp_path / "policy.toml"
    drafted = run(policy.command, "init", simulated, "--tee", "simulated", "-o", written, "--label", "mine")
    assert drafted[:2] == (0, "")
    assert drafted[2].startswith("shim: left unchecked: crl, report.")
    assert 'label = "mine"' in written.read_text()
    assert run(verify.command, simulated, "--policy", written, *BOUND)[0] == 0


@pytest.mark.parametrize(
    "form", [bytes.hex, lambda data: data.hex("\n", 30), lambda data: base64.b64encode(data).decode() + "\n"]
)
def test_evidence_that_is_written_as_text_is_said_to_be(
    simulated: Path, tmp_path: Path, form: Callable[[bytes], str]
) -> None:
    written = tmp_path / "report.txt"
    written.write_text(form(simulated.read_bytes()))
    want = ["this is evidence in hexadecimal or base64: decode it first"]
    for command, arguments in ((inspect.command, ("--tee", "simulated")), (verify.command, SIMULATED)):
        error = CliRunner().invoke(command, [str(written), *arguments]).exception
        assert isinstance(error, ShimError)
        assert error.__notes__ == want
    written.write_text("00" * 40)
    error = CliRunner().invoke(inspect.command, [str(written)]).exception
    assert isinstance(error, ShimError)
    assert not hasattr(error, "__notes__")


def test_policy_init_of_another_kind_says_so(simulated: Path) -> None:
    code, output, message = run(policy.command, "init", simulated, "--tee", "nitro")
    assert (code, output) == (2, "")
    assert "attestation document.tag" in message
    assert "it can be read as snp: --tee snp" in message


def test_policy_init_of_what_is_not_authentic_writes_nothing(simulated: Path, tmp_path: Path) -> None:
    written = tmp_path / "policy.toml"
    data = bytearray(simulated.read_bytes())
    data[0x90] ^= 1
    simulated.write_bytes(data)
    assert run(policy.command, "init", simulated, "--tee", "simulated", "-o", written)[0] == 11
    assert not written.exists()


def test_policy_check_names_line_and_key_of_everything_that_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    text = (EXAMPLES / "policy-snp.toml").read_text()
    wrong.write_text(text.replace("vmpl = [0]", "vmpl = [7]").replace('debug = "clear"', 'debgu = "clear"'))
    code, output, message = run(policy.command, "check", EXAMPLES / "policy-tdx.toml", wrong)
    lines = text.splitlines()
    vmpl = next(number for number, line in enumerate(lines, 1) if line.startswith("vmpl"))
    assert code == 2
    assert output.startswith(f"{EXAMPLES / 'policy-tdx.toml'}: a policy for tdx, boot rtmr; unchecked: ")
    assert f"{wrong}:{vmpl}: report.vmpl: found 7, want an integer of 0 to 3" in message
    assert "guest_policy.debgu: found an unknown key" in message
    assert "guest_policy.debug: found nothing" in message


REFERENCES = {"schema": "reference-values/1", "values": []}


def named(folder: Path, file: str) -> Path:
    """A policy for SNP that takes its measurement from a file."""
    text = (EXAMPLES / "policy-snp.toml").read_text()
    begin = text.index("measurement = [")
    written = folder / "named.toml"
    written.write_text(
        f"{text[:begin]}measurement = {{ file = {file} }}\n{text[text.index('signer =', begin) :]}"
    )
    return written


def test_policy_check_reads_the_files_that_a_policy_names(tmp_path: Path) -> None:
    value = {
        "tee": "snp",
        "register": "measurement",
        "algorithm": "sha-384",
        "digest": "11" * 48,
        "label": "a",
    }
    (tmp_path / "release.json").write_text(json.dumps({**REFERENCES, "values": [value]}))
    code, output, _ = run(policy.command, "check", named(tmp_path, '"release.json"'))
    assert (code, "a policy for snp" in output) == (0, True)
    (tmp_path / "release.json").write_text(json.dumps(REFERENCES))
    code, _, message = run(policy.command, "check", named(tmp_path, '"release.json"'))
    assert (code, "no value of snp for measurement" in message) == (2, True)


@pytest.mark.parametrize("file", ['"none.json"', '"a\\u0000b"', '"."', '"named.toml"'])
def test_policy_check_of_files_that_cannot_be_used(tmp_path: Path, file: str) -> None:
    code, output, message = run(policy.command, "check", named(tmp_path, file), EXAMPLES / "policy-tdx.toml")
    assert (code, message != "") == (2, True)
    assert "a policy for tdx" in output  # the others are still looked at


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now", ""])
def test_times_that_are_none(tmp_path: Path, moment: str) -> None:
    (tmp_path / "evidence").write_bytes(b"\0")
    assert run(inspect.command, tmp_path / "evidence", "--at", moment)[0] == 2


def test_policy_check_of_no_file(tmp_path: Path) -> None:
    code, _, message = run(policy.command, "check", tmp_path / "none.toml")
    assert code == 2
    assert "No such file" in message


@pytest.mark.parametrize("tee", KINDS)
def test_policy_example_is_a_policy(tee: str, tmp_path: Path) -> None:
    code, text, _ = run(policy.command, "example", tee)
    written = tmp_path / "policy.toml"
    written.write_text(text)
    assert (code, run(policy.command, "check", written)[0]) == (0, 0)


def test_policy_schema_is_json() -> None:
    code, text, _ = run(policy.command, "schema")
    assert code == 0
    assert set(json.loads(text)["$defs"]) == set(KINDS)


def test_the_command_line_knows_every_kind() -> None:
    assert tuple(kinds.KINDS) == KINDS


def notes(*arguments: str | Path) -> tuple[int, str]:
    """Return exit code and everything on standard error of the whole program."""
    done = subprocess.run(
        [sys.executable, "-c", "from shim.cli.main import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_evidence_of_another_kind_than_the_policys_is_said(simulated: Path) -> None:
    policies = EXAMPLES / "policy-tdx.toml"
    code, message = notes("verify", simulated, "--policy", policies, "--nonce", NONCE)
    assert code == 10
    assert "shim: the policy is for tdx, and this can be read as snp" in message


def test_a_binding_that_was_not_given_is_asked_for(simulated: Path) -> None:
    code, message = notes("verify", simulated, *SIMULATED)
    assert code == 15
    assert "shim: give what was sent: --nonce" in message


@pytest.mark.parametrize("group", ["policy", "measure"])
def test_a_group_without_a_command_prints_its_help(group: str) -> None:
    code, message = notes(group)
    assert code == 2
    assert message.startswith(f"Usage: shim {group} [OPTIONS] COMMAND")
    assert "\\x0a" not in message


def test_choices_that_are_missing_are_listed_on_one_line() -> None:
    code, message = notes("policy", "example")
    assert (code, len(message.splitlines())) == (2, 1)
    assert "Choose from: snp, tdx, sgx," in message


def test_a_directory_without_evidence_is_named(tmp_path: Path) -> None:
    code, _, message = run(inspect.command, tmp_path)
    assert code == 10
    assert message.startswith(f"evidence {tmp_path}: found a directory without parts of evidence, want ")


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        (None, "found No such file or directory, want a file that can be read"),
        (b"\xff\xfe", "found byte 0xff at 0, want UTF-8 text"),
        (bytes((1 << 20) + 1), f"found {(1 << 20) + 1} bytes, want at most {1 << 20} bytes"),
    ],
)
def test_a_policy_that_cannot_be_read(tmp_path: Path, contents: bytes | None, found: str) -> None:
    path = tmp_path / "policy.toml"
    if contents is not None:
        path.write_bytes(contents)
    code, _, message = run(policy.check, path)
    assert (code, message) == (2, f"{path}:1: file: {found}\n")


@pytest.mark.parametrize("text", [b"localhost\n", b"abcd", b"ff00", b"", b"-----BEGIN\n"])
def test_text_that_holds_no_endorsement(tmp_path: Path, simulated: Path, text: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(text)
    code, _, message = run(inspect.command, simulated, "--tee", "simulated", "--endorsements", path)
    assert code == 10
    assert message.startswith(f"{path}")
    assert "neither PEM nor DER" in message or "BEGIN without END" in message


@pytest.mark.parametrize("case", vectors.cases("azure", role="vek")[:1])
def test_a_directory_may_be_evidence_and_endorsements(case: Case) -> None:
    folder, roots = case.files["hcl"].parent, vectors.ROOT / "roots" / "amd"
    assert case.time is not None
    named = ("--endorsements", folder, "--endorsements", roots, "--at", case.time.isoformat())
    code, output, message = run(inspect.command, folder, "--tee", "azure-snp", *named)
    assert (code, "hardware.chain.2.name" in output) == (0, True)
    left = message.splitlines()[0]
    assert left.startswith("shim: not read as endorsements: ")
    assert all(f"{folder / name}" in left for name in ("hcl_report.bin", "tpm_quote.json"))
    assert "vcek" not in left
