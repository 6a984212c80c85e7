"""Every field of a policy for TDX and SGX refuses what it is about, and nothing else."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError, PolicyError
from attestation.policy import load
from attestation.result import AttestationResult
from attestation.verdict import Verdict
from tests import real, vectors
from tests.attestation.intel.test_vectors import ACCEPTED, supplied
from tests.fakes import intel
from tests.fakes.intel import NOW, QE_IDENTITY, TCB_INFO, Intel, Platform
from tests.fakes.policies import changed, policy, toml
from tests.vectors import Case

EXAMPLES = Path(__file__).resolve().parents[3] / "attestation" / "examples"
EXACT = Exact(bytes(64))
FREE = dict.fromkeys(
    ("fmspc", "ppid", "instance_id", "sgx_type", "dynamic_platform", "cached_keys"), "unchecked"
)
TDX: dict[str, object] = {
    **tomllib.loads((EXAMPLES / "policy-tdx.toml").read_text()),
    "binding": "exact",
    "report": {
        "mr_td": [{"digest": "01" * 48, "label": "the fake"}],
        **{f"rtmr{number}": [f"{5 + number:02x}" * 48] for number in range(4)},
        "mr_seam": ["5e" * 48],
        "mr_signer_seam": ["00" * 48],
        "seam_attributes": ["00" * 8],
        "mr_config_id": ["02" * 48],
        "mr_owner": ["03" * 48],
        "mr_owner_config": ["04" * 48],
        "mr_service_td": ["00" * 48],
    },
    "td_attributes": {
        **dict.fromkeys(("debug", "lass", "migratable", "pks", "key_locker", "perfmon", "reserved"), "clear"),
        "sept_ve_disable": "set",
    },
    "xfam": {"required": 0x3, "allowed": 0x602E7},
    "tcb": {
        "status": ["UpToDate"],
        "rejected_advisories": ["INTEL-SA-9"],
        "evaluation": 17,
        "platform_grace": 0,
        "qe_grace": 0,
        "qe_svn": 5,
        "pce_svn": 13,
        "tee_svn": "0701" + "00" * 14,
    },
    "platform": {**FREE, "fmspc": [intel.FMSPC.hex()], "ppid": [bytes(range(16)).hex()], "smt": "set"},
}
SGX: dict[str, object] = {
    **tomllib.loads((EXAMPLES / "policy-sgx.toml").read_text()),
    "binding": "exact",
    "report": {
        "mr_enclave": [{"digest": "ec" * 32, "label": "the fake"}],
        "mr_signer": ["dc" * 32],
        "isv_prod_id": 2,
        "isv_svn": 5,
        "config_id": ["00" * 64],
        "config_svn": 0,
        "misc_select": 0,
    },
    "attributes": {
        **dict.fromkeys(
            ("debug", "mode64bit", "einittoken_key", "cet", "kss", "aex_notify", "reserved"), "clear"
        ),
        "init": "set",
        "provision_key": "set",
    },
}
SGX_INFO = {name: value for name, value in TCB_INFO.items() if not name.startswith("tdx")} | {"id": "SGX"}


def sgx(report: bytes) -> Intel:
    return Intel(
        tee="SGX", version=3, report=report, tcb_info=SGX_INFO, qe_identity={**QE_IDENTITY, "id": "QE"}
    )


def judge(fake: Intel, values: dict[str, object], more: Endorsements | None = None) -> AttestationResult:
    return appraise(
        fake.quote(),
        fake.endorsements() if more is None else more,
        policy(values),
        binding=EXACT,
        now=NOW,
        roots=fake.roots(),
    )


def refused(*arguments: Any) -> dict[str, Verdict]:  # noqa: ANN401  # see judge
    with pytest.raises(AppraisalError) as caught:
        judge(*arguments)
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def test_what_the_policies_describe_is_affirmed() -> None:
    for fake, values, boot in ((Intel(), TDX, "rtmr"), (sgx(intel.enclave(bytes(64))), SGX, "enclave")):
        result = judge(fake, values)
        assert result.claims is not None
        assert (result.claims["reference"], result.claims["boot"]) == ("the fake", boot)
        assert set(result.unchecked) <= {
            *(f"platform.{name}" for name in (*FREE, "smt")),
            *(f"tcb.{name}" for name in ("rejected_advisories", "evaluation", "qe_svn", "pce_svn")),
        }


def attributes(bits: int) -> bytes:
    return (bits | 1 << 28).to_bytes(8, "little")


ONE_WRONG_TD: dict[str, tuple[dict[str, bytes], str]] = {
    "debug": ({"td_attributes": attributes(1)}, "td_attributes.debug"),
    "another bit of the same group": ({"td_attributes": attributes(1 << 3)}, "td_attributes.reserved"),
    "LASS": ({"td_attributes": attributes(1 << 27)}, "td_attributes.lass"),
    "#VE": ({"td_attributes": bytes(8)}, "td_attributes.sept_ve_disable"),
    "migration": ({"td_attributes": attributes(1 << 29)}, "td_attributes.migratable"),
    "PKS": ({"td_attributes": attributes(1 << 30)}, "td_attributes.pks"),
    "Key Locker": ({"td_attributes": attributes(1 << 31)}, "td_attributes.key_locker"),
    "perfmon": ({"td_attributes": attributes(1 << 63)}, "td_attributes.perfmon"),
    "no SSE": ({"xfam": (1).to_bytes(8, "little")}, "xfam.required"),
    "more state": ({"xfam": (0x702E7).to_bytes(8, "little")}, "xfam.allowed"),
    "SEAM attributes": ({"seam_attributes": b"\1" + bytes(7)}, "report.seam_attributes"),
    "service TD": ({"mr_service_td": b"\1" * 48}, "report.mr_service_td"),
    "report data": ({"report_data": b"\1" * 64}, "report.report_data"),
}


@pytest.mark.parametrize("name", ONE_WRONG_TD)
def test_one_wrong_field_of_a_trust_domain(name: str) -> None:
    fields, mismatch = ONE_WRONG_TD[name]
    verdict = Verdict.WRONG_BINDING if "report_data" in fields else Verdict.POLICY_MISMATCH
    # Its module's identity has them as well: what only a policy looks at is seen without collateral.
    if "seam_attributes" in fields:
        free = dict.fromkeys(TDX["tcb"], "unchecked")  # type: ignore[call-overload]
        values = changed("tcb", {**free, "platform_grace": 0, "qe_grace": 0}, TDX)
        fake = Intel(report=intel.td(**fields))
        assert refused(fake, values, Endorsements(revocation_lists=fake.lists)) == {mismatch: verdict}
        return
    assert refused(Intel(report=intel.td(**fields)), TDX) == {mismatch: verdict}


DIGESTS = {
    "mr_td": 1,
    "mr_config_id": 2,
    "mr_owner": 3,
    "mr_owner_config": 4,
    "rtmr0": 5,
    "rtmr1": 6,
    "rtmr2": 7,
    "rtmr3": 8,
}


@pytest.mark.parametrize("name", [*DIGESTS, "mr_seam", "mr_signer_seam"])
def test_one_digest_that_is_not_accepted(name: str) -> None:
    other: object = ["ff" * 48] if name != "mr_td" else [{"digest": "ff" * 48, "label": "another"}]
    assert refused(Intel(), changed(f"report.{name}", other, TDX)) == {
        f"report.{name}": Verdict.POLICY_MISMATCH
    }


ONE_WRONG_ENCLAVE: dict[str, tuple[dict[str, Any], str]] = {
    "debug": ({"attributes": bytes([0x13]) + bytes(15)}, "attributes.debug"),
    "not initialised": ({"attributes": bytes([0x10]) + bytes(15)}, "attributes.init"),
    "no provisioning": ({"attributes": bytes([0x01]) + bytes(15)}, "attributes.provision_key"),
    "launch": ({"attributes": bytes([0x31]) + bytes(15)}, "attributes.einittoken_key"),
    "reserved": ({"attributes": bytes([0x19]) + bytes(15)}, "attributes.reserved"),
    "signer": ({"mr_signer": bytes(32)}, "report.mr_signer"),
    "product": ({"isv_prod_id": 3}, "report.isv_prod_id"),
    "too old": ({"isv_svn": 4}, "report.isv_svn"),
    "MISCSELECT": ({"misc_select": 1}, "report.misc_select"),
}


@pytest.mark.parametrize("name", ONE_WRONG_ENCLAVE)
def test_one_wrong_field_of_an_enclave(name: str) -> None:
    fields, mismatch = ONE_WRONG_ENCLAVE[name]
    assert refused(sgx(intel.enclave(bytes(64), **fields)), SGX) == {mismatch: Verdict.POLICY_MISMATCH}


@pytest.mark.parametrize("name", ["mr_enclave", "config_id"])
def test_one_digest_of_an_enclave(name: str) -> None:
    other = [{"digest": "ff" * 32, "label": "another"}] if name == "mr_enclave" else ["ff" * 64]
    found = refused(sgx(intel.enclave(bytes(64))), changed(f"report.{name}", other, SGX))
    assert found == {f"report.{name}": Verdict.POLICY_MISMATCH}


LOW = Verdict.TCB_TOO_LOW
OLD_PLATFORM = Intel(platform=Platform(components=(2,) * 16))
ONE_WRONG_TCB: dict[str, tuple[Intel, str, object, dict[str, Verdict]]] = {
    "status": (OLD_PLATFORM, "tcb.status", ["UpToDate"], {"tcb.status": LOW}),
    "advisory": (
        replace(OLD_PLATFORM, tcb_info={**TCB_INFO}),
        "tcb",
        {**TDX["tcb"], "status": "unchecked", "rejected_advisories": ["INTEL-SA-2"]},  # type: ignore[dict-item]
        {"tcb.rejected_advisories": LOW},
    ),
    "recovery": (Intel(), "tcb.evaluation", 18, {"tcb.evaluation": LOW}),
    "QE": (Intel(), "tcb.qe_svn", 6, {"tcb.qe_svn": LOW}),
    "PCE": (Intel(), "tcb.pce_svn", 14, {"tcb.pce_svn": LOW}),
    "module": (Intel(), "tcb.tee_svn", "0801" + "00" * 14, {"tcb.tee_svn[0]": LOW}),
    "family": (Intel(), "platform.fmspc", ["00" * 6], {"platform.fmspc": Verdict.POLICY_MISMATCH}),
    "machine": (Intel(), "platform.ppid", ["00" * 16], {"platform.ppid": Verdict.POLICY_MISMATCH}),
    "machine with all packages": (
        Intel(),
        "platform.instance_id",
        ["01" * 16],
        {"platform.instance_id": Verdict.POLICY_MISMATCH},
    ),
    "no machine named": (
        Intel(platform=Platform(without=6)),
        "platform.instance_id",
        ["00" * 16],
        {"platform.instance_id": Verdict.POLICY_MISMATCH},
    ),
    "memory": (
        Intel(),
        "platform.sgx_type",
        ["Standard", "Scalable with integrity"],
        {"platform.sgx_type": Verdict.POLICY_MISMATCH},
    ),
    "SMT": (Intel(), "platform.smt", "clear", {"platform.smt": Verdict.POLICY_MISMATCH}),
    "dynamic platform": (
        Intel(),
        "platform.dynamic_platform",
        "clear",
        {"platform.dynamic_platform": Verdict.POLICY_MISMATCH},
    ),
    "nothing said of SMT": (
        Intel(platform=Platform(without=7)),
        "platform.smt",
        "clear",
        {"platform.smt": Verdict.POLICY_MISMATCH},
    ),
}


@pytest.mark.parametrize("name", ONE_WRONG_TCB)
def test_one_thing_about_the_platform(name: str) -> None:
    fake, path, value, mismatches = ONE_WRONG_TCB[name]
    assert refused(fake, changed(path, value, TDX)) == mismatches


def test_a_status_that_is_accepted() -> None:
    values = changed("tcb.status", ["UpToDate", "OutOfDate"], TDX)
    assert judge(OLD_PLATFORM, values).verdict is Verdict.AFFIRMING


def status_mismatch(fake: Intel, *accepted: str) -> tuple[str, str]:
    with pytest.raises(AppraisalError) as caught:
        judge(fake, changed("tcb.qe_svn", "unchecked", changed("tcb.status", list(accepted), FREE_MODULE)))
    (one,) = [one for one in caught.value.mismatches if one.field == "tcb.status"]
    return one.found, one.want


FREE_MODULE = changed("tcb.tee_svn", "unchecked", TDX)
ONE_SHORT = (3,) * 7 + (2,) + (3,) * 8
TDX_LEVELS = {
    **TCB_INFO,
    "tcbLevels": [
        intel.level("UpToDate", 3, tdx=(9, 9, 4) + (0,) * 13),
        intel.level("OutOfDate", 2, "INTEL-SA-2"),
    ],
}


def test_a_shortfall_names_component_and_distance() -> None:
    short = Intel(platform=Platform(components=ONE_SHORT))
    found, want = status_mismatch(short, "UpToDate")
    assert found == "OutOfDate (platform OutOfDate, TDX module UpToDate, QE UpToDate): component 8 is 2"
    assert want == "UpToDate: component 8 at least 3"
    found, want = status_mismatch(Intel(qe={"isv_svn": 3}), "UpToDate", "SWHardeningNeeded")
    assert (found.split(": ")[1], want) == (
        "TD_QE ISVSVN is 3",
        "SWHardeningNeeded or UpToDate: TD_QE ISVSVN at least 4",
    )
    found, want = status_mismatch(OLD_MODULE, "UpToDate")
    assert (found.split(": ")[1], want) == ("TDX_01 ISVSVN is 2", "UpToDate: TDX_01 ISVSVN at least 5")
    # The first two are the module's own, and count only in its levels.
    found, want = status_mismatch(Intel(tcb_info=TDX_LEVELS), "UpToDate")
    assert (found.split(": ")[1], want) == (
        "TEE TCB component 3 is 0",
        "UpToDate: TEE TCB component 3 at least 4",
    )
    both = status_mismatch(replace(OLD_MODULE, platform=Platform(components=ONE_SHORT)), "UpToDate")
    assert both[1] == "UpToDate: component 8 at least 3, TDX_01 ISVSVN at least 5"


def test_a_status_that_no_level_has_names_no_component() -> None:
    assert status_mismatch(OLD_PLATFORM, "ConfigurationNeeded") == (
        "OutOfDate (platform OutOfDate, TDX module UpToDate, QE UpToDate)",
        "ConfigurationNeeded",
    )


def test_a_platform_below_every_level_is_told_what_it_lacks() -> None:
    with pytest.raises(AppraisalError) as caught:
        judge(Intel(platform=Platform(components=(2, 1) + (2,) * 14, pce_svn=10)), TDX)
    (one,) = caught.value.mismatches
    assert (one.field, one.found) == ("platform TCB", "component 2 is 1, PCESVN is 10")
    assert one.want == "component 2 at least 2, PCESVN at least 11, as in the lowest level"


OLD_QE = Intel(qe={"isv_svn": 3})
OLD_MODULE = Intel(report=intel.td(tee_tcb_svn=bytes([2, 1]) + bytes(14)))
DAYS = (NOW - datetime(2025, 1, 1, tzinfo=UTC)).days  # since the date of every level of the fake
GRACES: dict[str, tuple[Intel, int, int, bool]] = {
    "platform": (OLD_PLATFORM, DAYS, 0, True),
    "platform, a day too old": (OLD_PLATFORM, DAYS - 1, 0, False),
    "platform, grace for the other": (OLD_PLATFORM, 0, 3650, False),
    "quoting enclave": (OLD_QE, 0, DAYS, True),
    "quoting enclave, a day too old": (OLD_QE, 0, DAYS - 1, False),
    "quoting enclave, grace for the other": (OLD_QE, 3650, 0, False),
    "module": (OLD_MODULE, DAYS, 0, True),
    "module, a day too old": (OLD_MODULE, DAYS - 1, 0, False),
    "both, grace for one": (replace(OLD_PLATFORM, qe={"isv_svn": 3}), 3650, 0, False),
    "both": (replace(OLD_PLATFORM, qe={"isv_svn": 3}), DAYS, DAYS, True),
    "none at all": (OLD_PLATFORM, 0, 0, False),
}


@pytest.mark.parametrize("name", GRACES)
def test_what_became_out_of_date_lately(name: str) -> None:
    fake, platform, qe, accepted = GRACES[name]
    values = changed("report.mr_td", TDX["report"]["mr_td"], TDX)  # type: ignore[index]
    values = changed("tcb.tee_svn", "unchecked", changed("tcb.qe_svn", "unchecked", values))
    values = changed("tcb.qe_grace", qe, changed("tcb.platform_grace", platform, values))
    if accepted:
        claims: Any = judge(fake, values).claims
        assert claims["tcb"]["status"] == "OutOfDate"
    else:
        assert refused(fake, values) == {"tcb.status": LOW}


def test_no_grace_makes_revoked_up_to_date() -> None:
    info = {**TCB_INFO, "tcbLevels": [intel.level("Revoked", 2)]}
    values = changed("tcb.platform_grace", 3650, changed("tcb.qe_grace", 3650, TDX))
    assert refused(Intel(tcb_info=info), values) == {"tcb.status": Verdict.REVOKED}


def test_what_intel_has_revoked_is_told_apart_from_what_is_old() -> None:
    identity = {**QE_IDENTITY, "tcbLevels": [intel.enclave_level("Revoked", 1)]}
    assert refused(Intel(qe_identity=identity), TDX) == {"tcb.status": Verdict.REVOKED}
    old = {**TCB_INFO, "tcbLevels": [intel.level("OutOfDate", 2)]}
    assert refused(Intel(tcb_info=old), TDX) == {"tcb.status": LOW}


def early(*levels: dict[str, Any], **changes: Any) -> Endorsements:  # noqa: ANN401  # JSON
    """What the fake Intel has signed for the next TCB recovery, with all that is in force."""
    info = {**TCB_INFO, "tcbEvaluationDataNumber": 19, "tcbLevels": list(levels), **changes}
    announced = Intel(tcb_info=info, qe_identity={})
    return Intel().endorsements() | Endorsements(documents=announced.documents()).as_early()


def test_the_next_recovery_is_warned_of_and_refuses_nothing() -> None:
    given = early(intel.level("UpToDate", 4), intel.level("OutOfDate", 3, "INTEL-SA-7"))
    result = judge(Intel(), TDX, given)
    (warning,) = result.warnings
    assert (warning.field, warning.found) == ("tcb.status", "OutOfDate, from TCB recovery 19 on")
    claims: Any = result.claims
    assert claims["tcb"]["evaluation"] == 17
    assert claims["next_tcb_recovery"]["tcb"]["advisories"] == ["INTEL-SA-7"]
    assert b'"warnings":[{"field":"tcb.status"' in result.to_json()


def test_a_platform_without_a_level_in_the_next_recovery_is_warned_of() -> None:
    result = judge(Intel(), TDX, early(intel.level("UpToDate", 4)))
    (warning,) = result.warnings
    assert warning.found.startswith(
        "no level, from TCB recovery 19 on: platform TCB component 1 is 3, component 2"
    )


def test_nothing_is_warned_of_where_the_next_recovery_changes_nothing() -> None:
    assert judge(Intel(), TDX, early(intel.level("UpToDate", 3))).warnings == ()
    assert judge(Intel(), TDX).warnings == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nextUpdate": "2025-05-20T00:00:00Z"}, "no level, from TCB recovery 19 on: tcbInfo "),
        ({"issueDate": "2025-06-02T00:00:00Z"}, "no level, from TCB recovery 19 on: tcbInfo "),
        ({"fmspc": "000000000000"}, "no level, in the next TCB recovery: TCB info none, want one for TDX"),
    ],
)
def test_early_documents_that_are_not_good_are_warned_of(changes: dict[str, str], why: str) -> None:
    result = judge(Intel(), TDX, early(intel.level("UpToDate", 3), **changes))
    (warning,) = result.warnings
    assert warning.found.startswith(why)


def test_early_documents_that_nobody_signed_are_warned_of() -> None:
    announced = Intel(tcb_info={**TCB_INFO, "tcbEvaluationDataNumber": 19}, document_key="another")
    given = Intel().endorsements() | Endorsements(documents=announced.documents()).as_early()
    (warning,) = judge(Intel(), TDX, given).warnings
    assert "a signature of another key" in warning.found


def test_without_collateral_nobody_can_tell_how_old_it_is() -> None:
    values = changed("crl", "unchecked", TDX)
    names = ("status", "rejected_advisories", "evaluation")
    assert refused(Intel(), values, Endorsements()) == dict.fromkeys(
        (f"tcb.{name}" for name in names), Verdict.CANNOT_TELL
    )
    for name in names:
        values = changed(f"tcb.{name}", "unchecked", values)
    result = judge(Intel(), values, Endorsements())
    assert {"crl", *(f"tcb.{name}" for name in names)} <= set(result.unchecked)


def test_evidence_of_another_kind_is_malformed() -> None:
    for fake, values in ((Intel(), SGX), (sgx(intel.enclave(bytes(64))), TDX)):
        assert refused(fake, values) == {"quote.TEE type": Verdict.MALFORMED}


def test_all_mismatches_at_once() -> None:
    fake = replace(OLD_PLATFORM, report=intel.td(td_attributes=attributes(1), report_data=b"\1" * 64))
    assert list(refused(fake, TDX)) == ["report.report_data", "td_attributes.debug", "tcb.status"]


@pytest.mark.parametrize("register", ["rtmr1", "rtmr2", "mr_td"])
def test_what_was_booted_cannot_be_left_unchecked(register: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(changed(f"report.{register}", "unchecked", TDX))
    assert [problem.key for problem in caught.value.problems] == [f"report.{register}"]


@pytest.mark.parametrize("program", [bytes(48), b"\1" * 48])
def test_registers_in_which_nothing_was_measured_cover_no_boot(program: bytes) -> None:
    """Those of domains whose boot a vTPM measures, whatever their policy accepts."""
    rtmrs = (bytes(48), program, bytes(48), bytes(48))
    raw = intel.td()
    fake, values = Intel(report=raw[:328] + b"".join(rtmrs) + raw[520:]), TDX
    for number, value in enumerate(rtmrs):
        values = changed(f"report.rtmr{number}", [value.hex()], values)
    if any(program):
        judge(fake, values)
    else:
        assert refused(fake, values) == {"boot": Verdict.POLICY_MISMATCH}


@pytest.mark.parametrize(
    "case",
    [case for case in ACCEPTED if real.is_unmeasured(case)]
    or [pytest.param(None, marks=pytest.mark.skip(reason=vectors.ABSENT))],
    ids=lambda case: case.id if case else "absent",
)
def test_real_domains_in_which_nothing_was_measured(case: Case) -> None:
    """What Intel says of the platform is shown all the same."""
    found = real.real(case)
    with pytest.raises(AppraisalError) as caught:
        found.appraise()
    assert [mismatch.field for mismatch in caught.value.mismatches] == ["boot"]
    assert caught.value.result.claims is not None
    tcb = caught.value.result.claims["tcb"]
    assert isinstance(tcb, dict)
    assert case.expected.startswith(f"valid: {tcb['status']}")


@pytest.mark.parametrize("name", ["policy-tdx.toml", "policy-sgx.toml"])
def test_the_example_can_be_loaded(name: str) -> None:
    assert load((EXAMPLES / name).read_text(), name).tee == name[7:10]


@pytest.mark.parametrize(
    "case",
    [case for case in ACCEPTED if case.id.startswith("tdx")]
    or [pytest.param(None, marks=pytest.mark.skip(reason=vectors.ABSENT))],
    ids=lambda case: case.id if case else "absent",
)
def test_a_strict_policy_on_real_quotes(case: Case) -> None:
    """Only what Intel calls up to date and cannot be debugged is affirmed."""
    from attestation.intel import evidence  # noqa: PLC0415  # for the values that this quote has

    report: Any = evidence.parse(case.read("quote")).report
    values = changed("report.mr_td", [{"digest": report.mr_td.hex(), "label": "it"}], TDX)
    for number in range(4):
        values = changed(f"report.rtmr{number}", [report.rtmrs[number].hex()], values)
    for name in ("mr_seam", "mr_config_id", "mr_owner", "mr_owner_config", "mr_service_td"):
        values = changed(f"report.{name}", "unchecked", values)
    for table in ("xfam", "platform", "tcb"):
        rules: Any = values[table]
        values[table] = dict.fromkeys(rules, "unchecked")
        for name in {"platform_grace", "qe_grace"} & set(rules):
            values[table][name] = 0  # type: ignore[index]
    values = changed("tcb.status", ["UpToDate"], {**values, "binding": "unchecked"})
    values = changed("td_attributes.perfmon", "unchecked", values)
    text = toml(values)
    try:
        result = appraise(
            case.read("quote"), supplied(case), load(text, "real"), binding=None, now=case.time or NOW
        )
    except AppraisalError as error:
        assert error.result.verdict is Verdict.TCB_TOO_LOW
        assert "OutOfDate" in case.expected
        fields = {mismatch.field for mismatch in error.mismatches}
        assert ("td_attributes.debug" in fields) == ("DEBUG" in case.expected)
    else:
        assert result.verdict is Verdict.AFFIRMING
        assert case.expected == "valid: UpToDate"


def test_an_event_log_has_to_lead_to_the_registers() -> None:
    from tests.attestation.eventlog.test_log import event, extended, header  # noqa: PLC0415  # used once

    log = header() + event(1, b"a") + event(2, b"b") + event(3, b"c")
    raw = bytearray(intel.td())
    for number, data in enumerate((b"a", b"b", b"c")):
        raw[328 + 48 * number : 376 + 48 * number] = extended(data)
    fake, values = Intel(report=bytes(raw)), TDX
    for number, data in enumerate((b"a", b"b", b"c")):
        values = changed(f"report.rtmr{number}", [extended(data).hex()], values)
    settings: Any = {"binding": EXACT, "now": NOW, "roots": fake.roots()}
    result = appraise(fake.quote(), fake.endorsements(), policy(values), event_log=log, **settings)
    assert result.claims is not None
    told: Any = result.claims["event_log"]
    assert (told["explained"], told["unexplained"]) == (["rtmr0", "rtmr1", "rtmr2"], ["rtmr3"])
    assert [one["data"] for one in told["events"]] == ["61", "62", "63"]


def test_a_log_that_leads_elsewhere_is_refused() -> None:
    from tests.attestation.eventlog.test_log import event, header  # noqa: PLC0415  # used once

    fake = Intel()
    with pytest.raises(AppraisalError) as caught:
        appraise(
            fake.quote(),
            fake.endorsements(),
            policy(TDX),
            binding=EXACT,
            now=NOW,
            roots=fake.roots(),
            event_log=header() + event(1, b"a"),
        )
    assert caught.value.result.verdict is Verdict.NOT_AUTHENTIC
    assert [mismatch.field for mismatch in caught.value.mismatches] == ["event log.rtmr0"]
