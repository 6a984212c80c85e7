"""The package as a relying party meets it: alone, pure, and with an example for every kind."""

from __future__ import annotations

import ast
import contextlib
import io
import pickle
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attestation import kinds
from tests import real
from tests.real import Real

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with nothing but the package and the two modules that it needs."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(
        ROOT / "attestation", folder / "attestation", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "shim").mkdir()
    (folder / "shim" / "__init__.py").write_text("")
    for name in ("errors.py", "canonical.py"):
        shutil.copy(ROOT / "shim" / name, folder / "shim" / name)
    return folder


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, cwd=folder, timeout=60
    )  # fmt: skip


IMPORT_ALL = """
import importlib, pkgutil, sys
import attestation, shim
names = [module.name for module in pkgutil.walk_packages(attestation.__path__, "attestation.")]
service = [name for name in names if name.startswith(("attestation.relying_party", "attestation.client"))]
for name in names:
    if name not in service:
        importlib.import_module(name)
print(attestation.__file__, shim.__file__)
print(sorted(name for name in sys.modules if name.startswith("shim.")))
print([name for name in ("click", "rich", "iced_x86", "elftools", "cffi", "joserfc", "asyncio") if name in sys.modules])
for name in service:
    importlib.import_module(name)
print(sorted(name for name in sys.modules if name.startswith("shim.")))
"""


def test_it_is_imported_alone(alone: Path) -> None:
    done = run(alone, IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    where, ours, others, of_service = done.stdout.splitlines()
    assert where == f"{alone}/attestation/__init__.py {alone}/shim/__init__.py"
    assert ours == "['shim.canonical', 'shim.errors']"
    assert others == "[]"
    assert of_service == ours


def test_it_is_typed() -> None:
    assert (ROOT / "attestation" / "py.typed").exists()


APPRAISE = """
import pickle, sys
evidence, endorsements, text, now = pickle.load(open(sys.argv[1], "rb"))
from attestation.appraise import appraise
from attestation.ear import VerifierId, claims
from attestation.policy import load
from datetime import timedelta
policy = load(text, "policy")  # which brings the kind that it names
seen = []
sys.addaudithook(lambda event, arguments: seen.append((event, str(arguments)[:200])))
open("/dev/null").close()
result = appraise(evidence, endorsements, policy, binding=None, now=now)
result.to_json()
claims(result, verifier=VerifierId("a", "b"), issued_at=now, lifetime=timedelta(minutes=1))
print(result.verdict.value)
touched = ("open", "socket.", "os.", "subprocess.", "import", "urllib.", "http.", "ctypes.", "shutil.")
print([event for event in seen if event[0].startswith(touched)])
"""


@pytest.mark.parametrize("case", real.one_of_each())
def test_an_appraisal_touches_nothing(case: Real, alone: Path, tmp_path: Path) -> None:
    """What it opens, imports, connects to or starts is seen by the interpreter's own audit hook."""
    [_, _, rules, *_] = case.files(tmp_path)
    given = (case.evidence, case.endorsements, Path(rules).read_text(), case.now)
    (tmp_path / "given").write_bytes(pickle.dumps(given))
    done = run(alone, APPRAISE, str(tmp_path / "given"))
    assert done.returncode == 0, done.stderr
    verdict, touched = done.stdout.splitlines()
    assert verdict == "affirming"
    assert ast.literal_eval(touched) == [("open", "('/dev/null', 'r', 524288)")]  # the hook sees


SHOWN = {
    "snp": "reported TCB: {'bootloader': ",
    "tdx": "TCB: UpToDate",
    "sgx": "TCB: ConfigurationAndSWHardeningNeeded, open advisories: INTEL-SA-",
    "azure-snp": "secure boot on",
    "azure-tdx": "TCB: unknown, no collateral",
    "nitro": "enclave: i-",
    "nvidia": "measurements: 64",
    "cca": "lifecycle 0x3003",
    "tpm": "attestation key: 000b",
    "simulated": "SIMULATED: this proves nothing about any hardware",
}


def example(case: Real, folder: Path, *more: str, **others: object) -> tuple[int, str]:
    """Run the program of a kind as its user does; return exit code and output."""
    evidence, _, rules, *rest = case.files(folder, **others)
    arguments = [part for part in rest if part != "--endorsements"]
    script = EXAMPLES / f"verify_{case.tee.replace('-', '_')}.py"
    main = runpy.run_path(str(script))["main"]
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = main([evidence, rules, *arguments, *more])
    return code, output.getvalue()


@pytest.mark.parametrize("case", real.one_of_each())
def test_the_example_of_a_kind(case: Real, tmp_path: Path) -> None:
    code, output = example(case, tmp_path)
    assert code == 0
    assert output.startswith("affirming: ")
    assert SHOWN[case.tee] in output
    assert "unchecked: binding, " in output


@pytest.mark.parametrize("case", real.one_of_each())
def test_the_example_says_why_not(case: Real, tmp_path: Path) -> None:
    code, output = example(case, tmp_path, "--nonce", "ab" * 32)
    assert code == 15
    assert output.startswith("stale nonce or wrong binding (exit code 15)\n  report.report_data: found ")


def test_the_example_knows_the_right_nonce(tmp_path: Path) -> None:
    code, output = example(real.SIMULATION, tmp_path, "--nonce", b"n".hex() * 32, binding="shim")
    assert (code, "unchecked: crl, " in output) == (0, True)


def test_an_example_is_a_program(tmp_path: Path) -> None:
    evidence, _, rules, *_ = real.SIMULATION.files(tmp_path)
    script = str(EXAMPLES / "verify_simulated.py")
    for arguments, code in (((evidence, rules), 0), ((evidence,), 2)):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)  # fmt: skip
        assert (done.returncode, "SIMULATED" in done.stdout) == (code, code == 0)


def test_there_is_an_example_for_every_kind() -> None:
    assert {path.stem for path in EXAMPLES.glob("verify_*.py")} == {f"verify_{tee.replace('-', '_')}" for tee in kinds.KINDS}  # fmt: skip


def test_the_code_of_the_document_is_one_program_that_runs() -> None:
    text = (ROOT / "docs" / "attestation.md").read_text()
    program = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    done = run(ROOT, program)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "affirming SIMULATED",
        "what every simulated machine says",
        "False",
        "True",
        """b'{"claims":{"boot":"simulated","chain":[{'""",
        "15 stale nonce or wrong binding",
        "report.report_data",
        "10 problems, all at once",
        "True",
    ]
