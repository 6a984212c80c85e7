"""Every kind's real evidence with a policy that accepts it, made from what the evidence says."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from attestation import endorsements, kinds
from attestation.appraise import appraise
from attestation.binding import report_data
from attestation.endorsements import Endorsements
from attestation.intel import evidence
from attestation.intel.report import TdReport
from attestation.policy import Policy
from attestation.result import AttestationResult
from attestation.simulated import collect
from tests import vectors
from tests.fakes import tpm
from tests.fakes.policies import changed, policy, toml
from tests.vectors import Case

EXAMPLES = Path(__file__).resolve().parents[1] / "attestation" / "examples"
LONG_AGO = datetime(2026, 5, 1, tzinfo=UTC)
_ROLES = {
    "snp": "report",
    "dcap": "quote",
    "azure": "hcl",
    "nitro": "doc",
    "nvidia": "evidence",
    "cca": "token",
}
_SUPPLIED = ("vek", "chain", "collateral", "certs", "cpak")
_NAMES = {"hcl": "hcl_report.bin", "tpm_quote": "tpm_quote.json", "quote": "td_quote.bin"}


@dataclass(frozen=True)
class Real:
    """One machine's evidence, and by what it is judged."""

    id: str
    tee: str
    evidence: bytes
    endorsements: Endorsements
    now: datetime
    case: Case | None

    def claims(self) -> Mapping[str, Any]:
        kind = kinds.KINDS[self.tee]
        supplied = self.endorsements | kind.endorsements
        return kind.claims(kind.authenticate(kind.parse(self.evidence), supplied, kind.roots, now=self.now, skew=timedelta(0), crl_required=False, cache=None))  # fmt: skip

    def accepting(self, **others: object) -> dict[str, object]:
        """Return a policy that asks for the measurements alone; `others` are keys with `__` for dots."""
        rules = _free(tomllib.loads((EXAMPLES / f"policy-{self.tee}.toml").read_text()))
        for key, value in {**_measured(self.tee, self.claims()), **others}.items():
            rules = changed(key.replace("__", "."), value, rules)
        return rules

    def policy(self, **others: object) -> Policy:
        return policy(self.accepting(**others))

    def appraise(self, **others: object) -> AttestationResult:
        return appraise(self.evidence, self.endorsements, self.policy(**others), binding=None, now=self.now)

    def files(self, folder: Path, **others: object) -> list[str]:
        """Write evidence and policy into a folder; return the arguments for `shim verify` and its like."""
        where = folder / "evidence"
        if self.tee.startswith("azure") and self.case is not None:
            where.mkdir()
            for role, name in _NAMES.items():
                if role in self.case.files:
                    (where / name).write_bytes(self.case.read(role))
        else:
            where.write_bytes(self.evidence)
        rules = folder / "policy.toml"
        rules.write_text(toml(self.accepting(**others)))
        supplied = (
            []
            if self.case is None
            else [self.case.files[role] for role in _SUPPLIED if role in self.case.files]
        )
        given = [text for path in supplied for text in ("--endorsements", str(path))]
        return [str(where), "--policy", str(rules), "--at", self.now.isoformat(), *given]


def load() -> list[Real]:
    """Return all real evidence that is authentic and that a policy can accept, and the simulation."""
    cases = vectors.load(*_ROLES)
    kept = [case for case in cases if "valid" in case.expected and not case.expected.startswith("invalid")]
    return [*(real(case) for case in kept if not is_unmeasured(case)), TPM, SIMULATION]


def is_unmeasured(case: Case) -> bool:
    """Whether a trust domain's registers say nothing of what was booted."""
    if case.kind != "dcap":
        return False
    report = evidence.parse(case.read("quote")).report
    return isinstance(report, TdReport) and not any(report.rtmrs[1])


def one_of_each() -> list[object]:
    """Return the first of every kind, as pytest's parameters; a kind without one is skipped."""
    first = {real.tee: real for real in reversed(load())}
    absent = pytest.mark.skip(reason=vectors.ABSENT)
    return [
        pytest.param(first[tee], id=tee) if tee in first else pytest.param(None, marks=absent, id=tee)
        for tee in kinds.KINDS
    ]


def real(case: Case) -> Real:
    """Return the evidence of a case, with what it is judged by."""
    data = case.read(_ROLES[case.kind])
    tee = case.id.split("/")[0] if case.kind == "dcap" else case.kind
    if case.kind == "azure":
        tee = "azure-tdx" if "quote" in case.files else "azure-snp"
        parts: dict[str, object] = {"hcl_report": data.hex(), "tpm_quote": json.loads(case.read("tpm_quote"))}
        data = json.dumps(
            parts | ({"td_quote": case.read("quote").hex()} if "quote" in case.files else {})
        ).encode()
    supplied = endorsements.union(
        endorsements.parse(case.read(role)) for role in _SUPPLIED if role in case.files
    )
    return Real(case.id, tee, data, supplied, case.time or LONG_AGO, case)


NEVER_UNCHECKED = {"platform_grace", "qe_grace", "certificate_hold"}


def _free(rules: Mapping[str, Any]) -> dict[str, object]:
    kept = {key: rules[key] for key in ("tee", "boot", "max_clock_skew")}
    free: dict[str, object] = {
        key: {name: one if name in NEVER_UNCHECKED else "unchecked" for name, one in value.items()}
        if isinstance(value, dict)
        else "unchecked"
        for key, value in rules.items()
    }
    snp = (
        {"tcb": "unchecked"} if "Milan" in rules.get("tcb", {}) or "Simulated" in rules.get("tcb", {}) else {}
    )
    return {**free, **kept, **snp}


def _measured(tee: str, claims: Mapping[str, Any]) -> dict[str, object]:
    if tee.startswith("azure-"):
        registers = {f"pcrs.pcr{number}": [claims["vtpm"][f"pcr{number}"]] for number in (4, 11, 8, 9)}
        level = {"report.vmpl": [0]} if tee == "azure-snp" else {}
        return {**registers, **level, **_measured(tee.removeprefix("azure-"), claims["hardware"])}
    report = claims.get("report", {})
    match tee:
        case "snp" | "simulated":
            return {"report.measurement": _reference(report["measurement"])}
        case "tdx":
            registers = {f"report.rtmr{number}": [report[f"rtmr{number}"]] for number in (1, 2)}
            return {"report.mr_td": _reference(report["mr_td"]), **registers}
        case "sgx":
            return {"report.mr_enclave": _reference(report["mr_enclave"])}
        case "nitro":
            return {"document.pcr0": _reference(claims["document"]["pcr0"])}
        case "tpm":
            quoted = {f"pcrs.pcr{number}": [claims["quote"][f"pcr{number}"]] for number in (4, 11)}
            return {**quoted, "ak.key": [claims["ak"]["name"]]}
        case "nvidia":
            return {"measurements": {str(index): [value] for index, value in claims["measurements"].items()}}
        case _:
            return {"realm.rim": _reference(claims["realm"]["rim"]), "platform.cpak": [claims["cpak_sha256"]]}


def _reference(digest: str) -> list[object]:
    return [{"digest": digest, "label": "what it says"}]


# There is no evidence of a TPM of no cloud among the vectors; this one has real keys.
TPM = Real("tpm", "tpm", tpm.Tpm().evidence(), Endorsements(), datetime(2025, 6, 1, tzinfo=UTC), None)
SIMULATION = Real(
    "simulated",
    "simulated",
    collect.collect(report_data(b"n" * 32, None, bytes(32)))[0],
    Endorsements(),
    datetime(2031, 1, 1, tzinfo=UTC),
    None,
)
