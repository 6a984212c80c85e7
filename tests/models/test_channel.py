"""The protocol as a model: spin finds no attack on it, and one on each protocol that lacks a check."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("channel.pml")
CHECKS = dict(re.findall(r"^#define ([A-Z_]+)\t+(\d+)\t", MODEL.read_text(), re.MULTILINE))

# Which claim falls with each check, as the assertion that spin then finds violated.
ATTACKS = {
    "AUTHENTICATE": "(to!=3)",
    "APPRAISE": "(to!=3)",
    "NONCE": "(known[guest]&(1<<session))",
    "BINDING": "(to!=3)",
    "SPENT": "(answers[session]==1)",
    "SIGNATURE": "( !(1)&&released_to[guest])",
    "CIPHERTEXT": "( !(1)&&released_to[guest])",
    "SEALING": "( !(1)&&(delivered[guest]==delivered[guest]))",
    "COUNTER": "( !(0)&&(i==delivered[guest]))",
}
# The same where the evidence is of a TPM, which anybody can sign, and a proof has to follow.
ATTACKS_ON_TPM = {
    "APPRAISE": "((to!=3)&&honest[session])",
    "NONCE": "(known[to]&(1<<session))",
    "BINDING": "((to!=3)&&honest[session])",
    "SPENT": "(answers[session]==1)",
    "MAKER": "((to!=3)&&honest[session])",
    "KEY_NAMED": "((to!=3)&&honest[session])",
    "PROOF": "((to!=3)&&honest[session])",
    "FRESH": "((to!=3)&&honest[session])",
}


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """What an exhaustive search says of the protocol without one of its checks."""
    if shutil.which("spin") is None:
        pytest.skip("no spin (apt install spin)")
    folder = tmp_path_factory.mktemp("model")
    subprocess.run(["spin", "-a", str(MODEL)], cwd=folder, check=True, capture_output=True)
    subprocess.run(["gcc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"], cwd=folder, check=True)

    def run(removed: str, evidence: str = "tee") -> str:
        environment = {**os.environ, "REMOVED": removed, "EVIDENCE": evidence}
        done = subprocess.run(
            ["./pan", "-m10000"], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        assert "max search depth too small" not in done.stdout
        return done.stdout

    return run


@pytest.mark.parametrize("evidence", ["tee", "tpm"])
def test_every_claim_holds_in_every_state(verify: Callable[..., str], evidence: str) -> None:
    said = verify("0", evidence)
    assert "errors: 0" in said
    (states,) = re.findall(r"(\d+) states, stored", said)
    assert int(states) > 10_000


@pytest.mark.parametrize("evidence", ["tee", "tpm"])
def test_a_good_run_exists(verify: Callable[..., str], evidence: str) -> None:
    """Two guests get their secrets and say their last words: a claim that none does is refuted."""
    assert "assertion violated" in verify(CHECKS["GOOD_RUN"], evidence)


@pytest.mark.parametrize(
    ("evidence", "check", "claim"),
    [
        *(("tee", check, claim) for check, claim in ATTACKS.items()),
        *(("tpm", check, claim) for check, claim in ATTACKS_ON_TPM.items()),
    ],
)
def test_without_a_check_there_is_an_attack(
    verify: Callable[..., str], evidence: str, check: str, claim: str
) -> None:
    said = verify(CHECKS[check], evidence)
    assert f"assertion violated {claim}" in said
    assert "errors: 1" in said


def test_every_check_of_the_model_has_its_attack() -> None:
    used = set(re.findall(r"(?:CHECKED\(|removed == )([A-Z_]+)", MODEL.read_text()))
    assert used == {*ATTACKS, *ATTACKS_ON_TPM, "GOOD_RUN"}
