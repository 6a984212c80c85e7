"""Every field of a policy refuses what it is about, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from attestation.appraise import appraise
from attestation.binding import Exact, Shim, report_data
from attestation.errors import AppraisalError
from attestation.result import AttestationResult
from attestation.snp import bits
from attestation.snp.products import TURIN
from attestation.verdict import Verdict
from tests.fakes import amd, policies
from tests.fakes.amd import NOW, Amd, Chip
from tests.fakes.policies import STRICT, changed, policy

AMD, CHIP = Amd(), Chip()
EXACT = Exact(bytes(range(64)))
FIELDS = {"CURRENT_MIT_VECTOR": 7, "LAUNCH_MIT_VECTOR": 3}


def judge(
    report: bytes,
    values: dict[str, object] = STRICT,
    chip: Chip = CHIP,
    binding: Shim | Exact | None = EXACT,
    **options: object,
) -> AttestationResult:
    authority = Amd(product=chip.product)
    settings = {"roots": authority.roots, "now": NOW} | options
    supplied = authority.endorsements(chip, lists=[authority.crl()])
    return appraise(report, supplied, policy(values), binding=binding, **settings)  # type: ignore[arg-type]


def refused(*arguments: object, **options: object) -> dict[str, Verdict]:
    with pytest.raises(AppraisalError) as caught:
        judge(*arguments, **options)  # type: ignore[arg-type]
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def test_what_the_policy_describes_is_affirmed() -> None:
    result = judge(CHIP.report(5))
    assert result.verdict is Verdict.AFFIRMING
    assert result.mismatches == ()
    assert result.unchecked == ("report.chip_id", "report.csp_id")
    assert result.claims is not None
    assert (result.claims["reference"], result.claims["boot"]) == ("the fake", "kernel-hashes")


# A field of the report, the value that breaks it, and the one mismatch that this must cause.
ONE_WRONG_FIELD: list[tuple[dict[str, int | bytes], str]] = [
    ({"MEASUREMENT": bytes(48)}, "report.measurement"),
    ({"HOST_DATA": b"\1".ljust(32, b"\0")}, "report.host_data"),
    ({"FAMILY_ID": b"\1".ljust(16, b"\0")}, "report.family_id"),
    ({"IMAGE_ID": b"\1".ljust(16, b"\0")}, "report.image_id"),
    ({"ID_KEY_DIGEST": b"\1".ljust(48, b"\0")}, "report.id_key_digest"),
    ({"AUTHOR_KEY_DIGEST": b"\1".ljust(48, b"\0")}, "report.author_key_digest"),
    ({"REPORT_ID": bytes(32)}, "report.report_id"),
    ({"REPORT_ID_MA": bytes(32)}, "report.report_id_ma"),
    ({"VMPL": 1}, "report.vmpl"),
    ({"VMPL": 0xFFFFFFFF}, "report.vmpl"),
    ({"POLICY": 0x20000}, "guest_policy.smt"),
    *(
        ({"POLICY": 0x30000 | 1 << place}, f"guest_policy.{name}")
        for name, place in bits.GUEST_POLICY.items()
        if name != "smt"
    ),
    ({"POLICY": 0x30000 | 1 << 26}, "guest_policy.reserved"),
    ({"POLICY": 0x30000 | 1 << 63}, "guest_policy.reserved"),
    *(
        ({"PLATFORM_INFO": 0x25 ^ 1 << place}, f"platform_info.{name}")
        for name, place in bits.PLATFORM_INFO.items()
    ),
    ({"PLATFORM_INFO": 0x25 | 1 << 8}, "platform_info.reserved"),
    ({"PLATFORM_INFO": 0x25 | 1 << 63}, "platform_info.reserved"),
]


@pytest.mark.parametrize(("fields", "field"), ONE_WRONG_FIELD)
def test_each_field_is_compared(fields: dict[str, int | bytes], field: str) -> None:
    assert refused(CHIP.report(5, **fields)) == {field: Verdict.POLICY_MISMATCH}


@pytest.mark.parametrize(("fields", "field"), ONE_WRONG_FIELD[1:])  # the measurement cannot be unchecked
def test_each_field_can_be_left_unchecked_and_is_shown(fields: dict[str, int | bytes], field: str) -> None:
    result = judge(CHIP.report(5, **fields), changed(field, "unchecked"))
    assert field in result.unchecked


@pytest.mark.parametrize("component", ["bootloader", "snp", "microcode"])
@pytest.mark.parametrize("kind", ["reported", "committed", "current", "launch"])
def test_firmware_that_is_too_old_names_component_and_distance(kind: str, component: str) -> None:
    minima = {**policies.MINIMA, component: policies.MINIMA[component] + 3}
    with pytest.raises(AppraisalError) as caught:
        judge(CHIP.report(5), changed(f"tcb.Milan.{kind}", minima))
    (mismatch,) = caught.value.mismatches
    assert mismatch.field == f"tcb.Milan.{kind}.{component}"
    assert mismatch.want == f"at least {minima[component]} (3 short)"
    assert (caught.value.result.verdict, caught.value.exit_code) == (Verdict.TCB_TOO_LOW, 16)


@pytest.mark.parametrize(("difference", "is_accepted"), [(-1, True), (0, True), (1, False)])
def test_minimum_is_inclusive(difference: int, is_accepted: bool) -> None:  # noqa: FBT001
    values = changed("tcb.Milan.launch", {**policies.MINIMA, "snp": 24 + difference})
    if is_accepted:
        assert judge(CHIP.report(5), values)
    else:
        assert refused(CHIP.report(5), values) == {"tcb.Milan.launch.snp": Verdict.TCB_TOO_LOW}


def test_product_without_minima_is_refused() -> None:
    minima = dict.fromkeys(("reported", "committed", "current", "launch"), "unchecked")
    values = changed("tcb", {"Genoa": minima})
    assert refused(CHIP.report(5), values) == {"tcb": Verdict.POLICY_MISMATCH}


def test_turin_has_minima_of_its_own() -> None:
    chip = Chip(product=TURIN, tcb=bytes([1, 2, 3, 4, 0, 0, 0, 200]))
    minima = {"fmc": 1, "bootloader": 2, "tee": 3, "snp": 4, "microcode": 200}
    kinds = ("reported", "committed", "current", "launch")
    assert judge(chip.report(5), changed("tcb", {"Turin": dict.fromkeys(kinds, minima)}), chip)
    higher = {"Turin": {kind: {**minima, "fmc": 2} for kind in kinds}}
    assert set(refused(chip.report(5), changed("tcb", higher), chip)) == {
        f"tcb.Turin.{kind}.fmc" for kind in kinds
    }


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"CURRENT_TCB": bytes([4, 0, 0, 0, 0, 0, 23, 219])}, "report.reported_tcb.snp"),
        ({"COMMITTED_TCB": bytes([5, 0, 0, 0, 0, 0, 24, 219])}, "report.committed_tcb.bootloader"),
        ({"COMMITTED_MINOR": 56}, "report.committed_version"),
    ],
)
def test_what_honest_firmware_cannot_say_is_refused_whatever_the_policy_says(
    fields: dict[str, int | bytes], field: str
) -> None:
    lax = changed("tcb", "unchecked", changed("firmware.provisional", "unchecked"))
    assert field in refused(CHIP.report(5, **fields), lax)


def test_provisional_firmware_is_refused_only_if_asked() -> None:
    raw = CHIP.report(5, CURRENT_BUILD=30, CURRENT_TCB=bytes([4, 0, 0, 0, 0, 0, 25, 219]))
    assert refused(raw) == {"firmware.provisional": Verdict.POLICY_MISMATCH}
    assert judge(raw, changed("firmware.provisional", "unchecked"))


@pytest.mark.parametrize("which", ["current", "committed"])
@pytest.mark.parametrize(
    ("minimum", "is_accepted"),
    [("1.55.29", True), ("1.55.30", False), ("1.56.0", False), ("2.0.0", False), ("1.9.255", True)],
)
def test_firmware_version_compares_by_parts(which: str, minimum: str, is_accepted: bool) -> None:  # noqa: FBT001
    values = changed(f"firmware.{which}", minimum)
    if is_accepted:
        assert judge(CHIP.report(5), values)
    else:
        assert refused(CHIP.report(5), values) == {f"firmware.{which}": Verdict.TCB_TOO_LOW}


@pytest.mark.parametrize("which", ["launch", "current"])
@pytest.mark.parametrize("wanted", [8, 9, 15])
def test_all_mitigations_must_be_in_force(which: str, wanted: int) -> None:
    assert refused(CHIP.report(5), changed(f"mitigations.{which}", wanted)) == {
        f"mitigations.{which}": Verdict.TCB_TOO_LOW
    }


@pytest.mark.parametrize("version", [2, 3, 4])
def test_mitigations_that_are_not_reported_are_not_in_force(version: int) -> None:
    assert set(refused(CHIP.report(version))) == {"mitigations.launch", "mitigations.current"}


@pytest.mark.parametrize(("minimum", "is_accepted"), [("0.31", True), ("0.32", False), ("1.0", False)])
def test_guest_abi_is_a_minimum(minimum: str, is_accepted: bool) -> None:  # noqa: FBT001
    raw, values = CHIP.report(5, POLICY=0x3001F), changed("guest_policy.abi", minimum)
    if is_accepted:
        assert judge(raw, values)
    else:
        assert refused(raw, values) == {"guest_policy.abi": Verdict.POLICY_MISMATCH}


@pytest.mark.parametrize(("minimum", "is_accepted"), [(6, True), (7, True), (8, False)])
def test_guest_svn_is_a_minimum(minimum: int, is_accepted: bool) -> None:  # noqa: FBT001
    raw, values = CHIP.report(5, GUEST_SVN=7), changed("report.guest_svn", minimum)
    if is_accepted:
        assert judge(raw, values)
    else:
        assert refused(raw, values) == {"report.guest_svn": Verdict.POLICY_MISMATCH}


HOST_ASKED = changed("report.vmpl", ["host"])


def test_a_report_that_the_host_asked_for_is_accepted_only_by_name() -> None:
    assert judge(CHIP.report(5, VMPL=0xFFFFFFFF), HOST_ASKED).verdict is Verdict.AFFIRMING
    for level in range(4):
        assert refused(CHIP.report(5, VMPL=level), HOST_ASKED) == {"report.vmpl": Verdict.POLICY_MISMATCH}
    levels = changed("report.vmpl", [0, 1, 2, 3])
    assert refused(CHIP.report(5, VMPL=0xFFFFFFFF), levels) == {"report.vmpl": Verdict.POLICY_MISMATCH}
    assert judge(CHIP.report(5, VMPL=2), changed("report.vmpl", ["host", 2])).verdict is Verdict.AFFIRMING


def test_who_wanted_what_level_is_said() -> None:
    with pytest.raises(AppraisalError) as caught:
        judge(CHIP.report(5, VMPL=0), changed("report.vmpl", ["host", 1]))
    assert (caught.value.mismatches[0].found, caught.value.mismatches[0].want) == ("0", "1 or the host")


def test_author_key_digest_counts_only_with_an_author_key() -> None:
    values = changed("report.author_key_digest", ["ab" * 48])
    digest = bytes.fromhex("ab" * 48)
    assert judge(CHIP.report(5, AUTHOR_KEY_DIGEST=digest, KEY_INFO=1), values)
    assert set(refused(CHIP.report(5, AUTHOR_KEY_DIGEST=digest), values)) == {"report.author_key_en"}


def test_signer_cloud_and_chip_are_compared() -> None:
    chip = Chip(is_vlek=True)
    by_cloud = changed("report.signer", "vlek", changed("report.csp_id", ["CN=cloud"]))
    assert judge(chip.report(5), by_cloud, chip)
    assert set(refused(chip.report(5), chip=chip)) == {"report.signer"}
    assert set(refused(CHIP.report(5), by_cloud)) == {"report.signer", "report.csp_id"}
    elsewhere = changed("report.csp_id", ["CN=elsewhere"], by_cloud)
    assert set(refused(chip.report(5), elsewhere, chip)) == {"report.csp_id"}


def test_chip_is_taken_from_the_certificate_even_if_the_report_masks_it() -> None:
    ours = changed("report.chip_id", [CHIP.hwid.hex()])
    assert judge(CHIP.report(5, CHIP_ID=bytes(64)), ours)
    assert set(refused(CHIP.report(5), changed("report.chip_id", ["00" * 64]))) == {"report.chip_id"}
    chip = Chip(is_vlek=True)
    assert "report.chip_id" in refused(chip.report(5), ours, chip)


def test_every_mismatch_is_reported_and_the_most_fundamental_decides() -> None:
    raw = CHIP.report(5, MEASUREMENT=bytes(48), VMPL=3, POLICY=0x30000 | 1 << 19)
    values = changed("tcb.Milan.reported", {**policies.MINIMA, "snp": 25})
    with pytest.raises(AppraisalError) as caught:
        judge(raw, values)
    assert {mismatch.field for mismatch in caught.value.mismatches} == {
        "report.measurement",
        "report.vmpl",
        "guest_policy.debug",
        "tcb.Milan.reported.snp",
    }
    assert caught.value.exit_code == 16
    with pytest.raises(AppraisalError) as caught:
        judge(raw, values, binding=Exact(bytes(64)))
    assert caught.value.exit_code == 15
    assert len(caught.value.mismatches) == 5


# Freshness

NONCE, KEY, PLAN = b"n" * 32, b"k" * 32, b"p" * 32
BOUND = CHIP.report(5, REPORT_DATA=report_data(NONCE, KEY, PLAN))
BY_NONCE = changed("binding", "shim")


def test_nonce_key_and_plan_are_bound() -> None:
    assert judge(BOUND, BY_NONCE, binding=Shim(NONCE, KEY, PLAN))
    for wrong in (Shim(b"x" * 32, KEY, PLAN), Shim(NONCE, None, PLAN), Shim(NONCE, KEY, bytes(32))):
        assert refused(BOUND, BY_NONCE, binding=wrong) == {"report.report_data": Verdict.WRONG_BINDING}


@pytest.mark.parametrize("binding", [None, Exact(report_data(NONCE, KEY, PLAN))])
def test_the_policy_chooses_the_formula(binding: Exact | None) -> None:
    assert refused(BOUND, BY_NONCE, binding=binding) == {"binding": Verdict.WRONG_BINDING}


def test_binding_that_is_given_is_compared_even_if_unchecked() -> None:
    free = changed("binding", "unchecked")
    assert "binding" in judge(BOUND, free, binding=None).unchecked
    assert "binding" not in judge(BOUND, free, binding=Shim(NONCE, KEY, PLAN)).unchecked
    assert refused(BOUND, free, binding=Shim(KEY, KEY, PLAN)) == {"report.report_data": Verdict.WRONG_BINDING}


def test_binding_of_a_wrong_length_is_the_callers_bug() -> None:
    for wrong in (Shim(b"n", KEY, PLAN), Shim(NONCE, b"k", PLAN), Shim(NONCE, KEY, b""), Exact(b"")):
        with pytest.raises(ValueError, match="found"):
            judge(BOUND, changed("binding", "unchecked"), binding=wrong)


# What is not authentic claims nothing


def test_evidence_that_is_not_authentic_has_no_claims_in_the_result() -> None:
    damaged = bytearray(CHIP.report(5))
    damaged[0x90] ^= 1
    with pytest.raises(AppraisalError) as caught:
        judge(bytes(damaged))
    result = caught.value.result
    assert (result.verdict, result.claims, caught.value.exit_code) == (Verdict.NOT_AUTHENTIC, None, 11)
    assert len(result.mismatches) == 1


@pytest.mark.parametrize(
    ("change", "exit_code"),
    [
        ({"now": amd.END + timedelta(days=1)}, 12),
        ({"now": NOW + timedelta(days=365)}, 12),
        ({"roots": Amd(label="other").roots}, 11),
    ],
)
def test_other_verdicts_reach_the_result(change: dict[str, object], exit_code: int) -> None:
    with pytest.raises(AppraisalError) as caught:
        judge(CHIP.report(5), **change)  # type: ignore[arg-type]
    assert caught.value.exit_code == exit_code


def test_skew_of_the_policy_is_used() -> None:
    late = amd.END + timedelta(seconds=60)
    values = changed("crl", "unchecked", changed("max_clock_skew", 60))
    supplied = AMD.endorsements(CHIP)
    arguments = {"binding": EXACT, "roots": AMD.roots}
    assert appraise(CHIP.report(5), supplied, policy(values), now=late, **arguments)  # type: ignore[arg-type]
    with pytest.raises(AppraisalError):
        appraise(
            CHIP.report(5),
            supplied,
            policy(values),
            now=late + timedelta(seconds=1),
            **arguments,  # type: ignore[arg-type]
        )


def test_missing_list_is_shown_as_unchecked_or_refused() -> None:
    supplied = AMD.endorsements(CHIP)
    free = policy(changed("crl", "unchecked"))
    arguments = {"binding": EXACT, "roots": AMD.roots, "now": NOW}
    assert "crl" in appraise(CHIP.report(5), supplied, free, **arguments).unchecked  # type: ignore[arg-type]
    assert "crl" not in judge(CHIP.report(5), changed("crl", "unchecked")).unchecked
    with pytest.raises(AppraisalError) as caught:
        appraise(CHIP.report(5), supplied, policy(), **arguments)  # type: ignore[arg-type]
    assert caught.value.exit_code == 14


def test_message_is_one_line_with_the_first_of_many() -> None:
    with pytest.raises(AppraisalError) as caught:
        judge(CHIP.report(5, VMPL=3, POLICY=0x30000 | 1 << 19))
    assert str(caught.value) == (
        "policy mismatch: report.vmpl: found 3, want 0 "
        '(AMD 56860 r1.58, section 7.3, "Attestation", structure of ATTESTATION_REPORT) (and 1 more)'
    )


def test_result_is_canonical_json() -> None:
    import json  # noqa: PLC0415  # one use

    supplied, raw = AMD.endorsements(CHIP, lists=[AMD.crl()]), CHIP.report(5)
    results = [
        appraise(raw, supplied, policy(), binding=EXACT, now=NOW, roots=AMD.roots).to_json() for _ in range(2)
    ]
    assert results[0] == results[1]
    value = json.loads(results[0])
    assert value["schema"] == "attestation-result/1"
    assert list(value) == sorted(value)
    assert value["unchecked"] == ["report.chip_id", "report.csp_id"]
    assert value["simulated"] is False
