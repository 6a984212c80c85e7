"""
`shim verify --explain`: one line per check, and none for a check that was not made.

Each key of a strict policy is changed in turn, on real evidence of every kind: the appraisal has to fail by
just that key, and the trail has to say so.
"""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509 import ocsp

from attestation.appraise import appraise
from attestation.errors import AppraisalError
from attestation.policy import leaves, load
from attestation.trail import SILENT, Outcome, Trail
from shim.cli import verify
from tests import kinds_document, vectors
from tests.attestation.test_policy_init import ACCEPTED, drafted, material, real
from tests.fakes import amd, aws, nvidia
from tests.fakes.policies import changed, lax, policy, toml
from tests.vectors import Case

EXAMPLES = Path(__file__).resolve().parents[2] / "attestation" / "examples"
GENERAL = {"tee", "boot", "binding", "max_clock_skew", "crl"}
# Longer than any grace is no stricter, and 255 is the highest version that there is.
NO_STRICTER = {"tcb.platform_grace", "tcb.qe_grace"}
NO_OTHER = {"reserved"}
# Rules about what is not there: collateral, and answers to who asked about a certificate.
ABOUT_NOTHING = {
    "azure-vtpm/tdx-v1": NO_STRICTER,
    "nvidia-gpu/h100-a": {"device.certificate_hold", "manifests.certificate_hold"},
    "nvidia-gpu/nvswitch-a": {"device.certificate_hold", "manifests.certificate_hold"},
}


def judged(case: Case, values: dict[str, Any]) -> tuple[Trail, AppraisalError | None]:
    _, evidence, endorsements = material(case)
    trail, text = Trail(), toml({**values, "binding": "unchecked"})
    assert case.time is not None
    try:
        appraise(evidence, endorsements, load(text, "p.toml"), binding=None, now=case.time, trail=trail)
    except AppraisalError as error:
        return trail, error
    return trail, None


def other(key: str, value: Any) -> Any:  # noqa: ANN401, C901, PLR0912  # TOML, a row for each of its types
    """A value of the same type that the evidence does not have; None where there is none."""
    name = key.rpartition(".")[2]
    match value:
        case "set" | "clear":
            return "clear" if value == "set" else "set"
        case "refused" | "secured" | "required" | "unchecked":
            return None
        case "vcek" | "vlek":
            return "vlek" if value == "vcek" else "vcek"
        case bool():
            return None
        case int() if name == "allowed":
            return 0
        case int() if name in {"required", "launch", "current"} and "." in key and not key.startswith("tcb"):
            return value | 1 << 62
        case int():
            return None if value == 255 and key.startswith("tcb") else value + 1
        case str() if key == "guest_policy.abi" or key.startswith("firmware"):
            return ".".join(["255", *value.split(".")[1:]])
        case str():
            return "ff" * (len(value) // 2)
        case [{"digest": digest, "label": label}]:
            return [{"digest": flipped(digest), "label": label}]
        case [int()]:
            return [3 if value != [3] else 2]
        case ["Standard" | "Scalable" | "Scalable with integrity"]:
            return ["Scalable" if value != ["Scalable"] else "Standard"]
        case [str() as first] if key == "tcb.status":
            return ["Revoked"] if first != "Revoked" else ["UpToDate"]
        case [str() as first, *_] if is_hexadecimal(first):
            return [flipped(first)]
        case [str(), *_]:
            return ["another"]
    raise AssertionError(key)


def is_hexadecimal(text: str) -> bool:
    return len(text) >= 12 and len(text) % 2 == 0 and not set(text) - set("0123456789abcdef")


def flipped(digits: str) -> str:
    return f"{int(digits[:2], 16) ^ 1:02x}{digits[2:]}"


def replaced(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:  # noqa: ANN401  # TOML
    whole = copy.deepcopy(values)
    table, *rest = whole, *key.split(".")
    for name in rest[:-1]:
        table = table[name]
    table[rest[-1]] = value
    return whole


@pytest.mark.parametrize("name", ACCEPTED)
def test_every_key_of_a_strict_policy_is_enforced_and_named(name: str) -> None:
    case = real(name)
    values = tomllib.loads(drafted(case))
    keys = 0
    for key, value in leaves(values):
        last = key.rpartition(".")[2]
        is_fixed = key in GENERAL | NO_STRICTER or last in NO_OTHER
        is_fixed |= case.kind == "azure" and key == "report.vmpl"  # which has to be the paravisor's
        changed = None if is_fixed else other(key, value)
        if changed is None:
            continue
        keys += 1
        trail, error = judged(case, replaced(values, key, changed))
        assert error is not None, f"{key} = {changed!r} is accepted"
        failed = {one.field for one in trail.checks if one.outcome is Outcome.FAILED}
        assert failed, key
        assert all(field == key or field.startswith((f"{key}[", f"{key}.")) for field in failed), (
            key,
            failed,
        )
        assert failed == {one.field for one in error.mismatches}
    assert keys >= 5


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_trail_names_every_key_once(name: str) -> None:
    case = real(name)
    values = tomllib.loads(drafted(case))
    trail, error = judged(case, values)
    assert error is None
    fields = [one.field for one in trail.checks]
    for key, value in leaves(values):
        if key in GENERAL:
            continue
        (check,) = [one for one in trail.checks if one.field == key]
        is_open = value == "unchecked" or key in ABOUT_NOTHING.get(name, set())
        assert check.outcome is (Outcome.UNCHECKED if is_open else Outcome.HELD)
        assert check.source
    assert fields[0] == "format"
    assert {"boot", "binding"} <= set(fields)
    assert any("signature" in field or "quote" in field for field in fields)


def test_minima_of_other_products_are_not_held() -> None:
    case = real("snp/milan-v3-azure")
    values = tomllib.loads(drafted(case))
    values["tcb"]["Genoa"] = values["tcb"]["Milan"]
    trail, error = judged(case, values)
    assert error is None
    outcomes = {one.field: one.outcome for one in trail.checks if one.field.startswith("tcb.")}
    assert {key.split(".")[1] for key in outcomes} == {"Milan", "Genoa"}
    for key, outcome in outcomes.items():
        assert outcome is (Outcome.HELD if key.startswith("tcb.Milan.") else Outcome.UNCHECKED)


def test_a_table_that_is_left_unchecked_shows_what_is_in_it() -> None:
    chip, authority = amd.Chip(), amd.Amd()
    for key, want in (
        ("tcb.Milan.launch", "bootloader 4, tee 0, snp 24, microcode 219"),
        ("tcb.Milan.launch.snp", ""),
    ):
        values = changed("tcb.Milan.launch", "unchecked", changed("binding", "unchecked"))
        trail = Trail()
        supplied = authority.endorsements(chip, lists=[authority.crl()])
        appraise(
            chip.report(5), supplied, policy(values), binding=None, now=amd.NOW, roots=authority.roots,
            trail=trail,
        )  # fmt: skip
        found = [(one.found, one.outcome) for one in trail.checks if one.field == key]
        assert found == ([(want, Outcome.UNCHECKED)] if want else [])


def test_a_whole_table_that_is_left_unchecked_is_counted() -> None:
    chip, authority, trail = amd.Chip(), amd.Amd(), Trail()
    values = policy(lax(bytes(range(48)), "clear"))
    supplied = authority.endorsements(chip)
    appraise(chip.report(5), supplied, values, binding=None, now=amd.NOW, roots=authority.roots, trail=trail)
    (one,) = [one for one in trail.checks if one.field == "tcb"]
    assert one.found.startswith("Milan.reported.bootloader 4, ")
    assert one.found.endswith(" and 12 more")


@pytest.mark.parametrize(("held", "found"), [(True, "on hold: instance"), (False, "none on hold")])
def test_a_hold_that_is_accepted_is_said(held: bool, found: str) -> None:  # noqa: FBT001
    state = (
        {"state": ocsp.OCSPCertStatus.REVOKED, "reason": x509.ReasonFlags.certificate_hold} if held else {}
    )
    device, trail = nvidia.Device(), Trail()
    more = device.endorsements(responses=(nvidia.Status(**state).response(),))  # type: ignore[arg-type]
    text = (EXAMPLES / "policy-nvidia.toml").read_text()
    values = changed("device.certificate_hold", "accepted", changed("crl", "unchecked", tomllib.loads(text)))
    with pytest.raises(AppraisalError):  # for other keys of the example
        appraise(
            device.evidence(),
            more,
            policy(values),
            binding=None,
            now=aws.NOW,
            roots=nvidia.roots(),
            trail=trail,
        )
    (one,) = [one for one in trail.checks if one.field == "device.certificate_hold"]
    assert (one.found, one.want, one.outcome) == (found, "accepted", Outcome.HELD)


def test_what_the_author_states_is_not_held() -> None:
    trail, _ = judged(real("nitro/prod-2021"), tomllib.loads(drafted(real("nitro/prod-2021"))))
    assert [one.outcome for one in trail.checks if one.field == "boot"] == [Outcome.STATED]


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("snp/milan-v2-badvcek-new", "format"),
        ("nitro/prod-2021-now", "document signature"),
        ("nvidia-gpu/h100-badsig", "format"),
        ("tdx/ccapi-preprod-root", "format"),
        ("tdx/phala-v4-collateral-expired", "revocation list"),
    ],
)
def test_a_trail_ends_where_authentication_did(name: str, before: str) -> None:
    case = real(name)
    tee, evidence, endorsements = material(case)
    trail = Trail()
    from attestation.policy_example import text  # noqa: PLC0415  # any policy will do

    policy = load(text(tee).replace('binding = "shim"', 'binding = "unchecked"'), "p.toml")
    assert case.time is not None
    with pytest.raises(AppraisalError):
        appraise(evidence, endorsements, policy, binding=None, now=case.time, trail=trail)
    outcomes = [one.outcome for one in trail.checks]
    assert outcomes[-1] is Outcome.FAILED
    assert Outcome.FAILED not in outcomes[:-1]
    assert any(one.field.startswith(before) for one in trail.checks[:-1])


def test_the_document_of_kinds_and_checks_is_current() -> None:
    written = Path(__file__).resolve().parents[2] / "docs" / "kinds.md"
    assert written.read_text() == kinds_document.text()


def test_nobody_who_does_not_ask_pays_for_a_trail() -> None:
    SILENT.held("a", "b", "c", "d")
    assert SILENT.checks == []


@pytest.mark.skipif(not vectors.MANIFEST.is_file(), reason=vectors.ABSENT)
def test_the_command_prints_each_check(tmp_path: Any) -> None:  # noqa: ANN401
    case = real("nitro/prod-2021")
    policy = tmp_path / "policy.toml"
    policy.write_text(drafted(case).replace('binding = "shim"', 'binding = "unchecked"'))
    evidence = case.files["doc"]
    arguments = [str(evidence), "--policy", str(policy), "--at", "2021-03-17T22:05", "--explain"]
    text = CliRunner().invoke(verify.command, arguments).stdout
    assert "checks, in their order\n   1 ✓ format\n" in text
    assert " ✓ document signature\n" in text
    assert " - document.module_id\n" in text
    found = json.loads(CliRunner().invoke(verify.command, [*arguments, "--format", "json"]).stdout)
    assert {"field", "found", "want", "source", "outcome"} == set(found["checks"][0])
    assert "checks" not in json.loads(
        CliRunner().invoke(verify.command, [*arguments[:-1], "--format", "json"]).stdout
    )
