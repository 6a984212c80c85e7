"""A result becomes a token that other people's libraries verify, and that never says more than was checked."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, strategies as st
from joserfc import errors as jose_errors, jwt as jose
from joserfc.jwk import ECKey, OKPKey

from attestation import aspects, ear, ear_token, kinds, trustworthiness
from attestation.appraise import appraise
from attestation.binding import Exact
from attestation.ear import PROFILES, VerifierId
from attestation.ear_token import SigningKeyError, load_key, sign
from attestation.result import AttestationResult, Mismatch
from attestation.trustworthiness import Tier, Vector, status, tier, vector
from attestation.verdict import Verdict
from tests import real
from tests.fakes import policies
from tests.fakes.amd import NOW, Amd, Chip
from tests.real import Real

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "ear.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
WHO = VerifierId("the tests", "1")
ISSUED = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIFETIME = timedelta(minutes=5)
KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
BARE = AttestationResult("snp", False, Verdict.AFFIRMING, "2026-06-01T12:00:00+00:00", "11" * 32, "22" * 32, {}, (), ())  # fmt: skip


def pem(key: Any, password: bytes | None = None) -> bytes:  # noqa: ANN401  # of any kind
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    data: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return data


def public(key: Any) -> bytes:  # noqa: ANN401
    data: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)  # fmt: skip
    return data


def claims(result: AttestationResult, **others: Any) -> dict[str, Any]:  # noqa: ANN401
    arguments = {"verifier": WHO, "issued_at": ISSUED, "lifetime": LIFETIME, **others}
    return dict(ear.claims(result, **arguments))


# --- the signature, in the eyes of two other libraries


@pytest.mark.parametrize("algorithm", KEYS)
def test_two_libraries_verify_the_token(algorithm: str) -> None:
    said = claims(BARE, nonce=b"n" * 32)
    token = sign(said, load_key(pem(KEYS[algorithm]), "key"))
    assert (
        jwt.decode(token, public(KEYS[algorithm]), algorithms=[algorithm], options={"verify_exp": False})
        == said
    )
    key = (OKPKey if algorithm == "EdDSA" else ECKey).import_key(public(KEYS[algorithm]))
    with pytest.warns() if algorithm == "EdDSA" else contextlib.nullcontext():
        found = jose.decode(token, key, algorithms=[algorithm])
    assert found.claims == said
    assert found.header == {"alg": algorithm, "typ": "eat+jwt", "kid": key.thumbprint()}


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_token_is_refused(algorithm: str, part: int) -> None:
    parts = sign(claims(BARE), load_key(pem(KEYS[algorithm]), "key")).split(".")
    raw = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
    for place in range(0, len(raw), 7):
        raw[place] ^= 1
        changed = [*parts]
        changed[part] = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        with pytest.raises(jwt.PyJWTError):
            jwt.decode(".".join(changed), public(KEYS[algorithm]), algorithms=[algorithm], options={"verify_exp": False})  # fmt: skip
        raw[place] ^= 1


def test_another_key_does_not_verify_it() -> None:
    token = sign(claims(BARE), load_key(pem(KEYS["ES256"]), "key"))
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, public(other), algorithms=["ES256"])
    with pytest.raises(jose_errors.BadSignatureError):
        jose.decode(token, ECKey.import_key(public(other)))
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(token, public(KEYS["ES384"]), algorithms=["ES384"])


def test_the_token_counts_from_then_on_and_not_for_ever() -> None:
    token = sign(claims(BARE), load_key(pem(KEYS["ES256"]), "key"))
    with pytest.raises((jwt.ExpiredSignatureError, jwt.ImmatureSignatureError)):
        jwt.decode(token, public(KEYS["ES256"]), algorithms=["ES256"])
    said = claims(BARE)
    assert (said["iat"], said["nbf"], said["exp"] - said["iat"]) == (
        ISSUED.timestamp(),
        ISSUED.timestamp(),
        300,
    )


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (b"", "no private key"),
        (b"hello", "no private key"),
        (public(KEYS["ES256"]), "no private key"),
        (pem(KEYS["ES256"], b"secret"), "one with a password"),
        (pem(rsa.generate_private_key(65537, 2048)), "another kind of key"),
        (pem(ec.generate_private_key(ec.SECP521R1())), "another kind of key"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "another kind of key"),
    ],
)
def test_a_key_that_signs_no_tokens(key: bytes, found: str) -> None:
    with pytest.raises(SigningKeyError) as caught:
        load_key(key, "key.pem")
    assert (caught.value.where, caught.value.exit_code) == ("key.pem", 2)
    assert caught.value.found == found


def test_a_key_is_in_no_log() -> None:
    assert repr(load_key(pem(KEYS["ES256"]), "key")) == "SigningKey(ES256)"


def test_the_library_is_named_where_it_is_missing() -> None:
    program = (
        "import sys; sys.modules['joserfc'] = None\n"
        "from attestation import ear_token\n"
        "try: ear_token.sign({}, ear_token.SigningKey('ES256', b''))\n"
        "except ear_token.SigningKeyError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.startswith("joserfc: found not installed, want it: pip install 'tee-shim[ear]'")


# --- the claims


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", real.one_of_each())
def test_real_results_are_spelled_as_the_schema_says(case: Real, profile: str) -> None:
    said = claims(case.appraise(), nonce=bytes(64), profile=PROFILES[profile])
    jsonschema.validate(said, SCHEMA)
    [(name, appraisal)] = said["submods"].items()
    assert ("SIMULATED" if case.tee == "simulated" else case.tee) == name or profile == "trustee"
    assert appraisal[PROFILES[profile].verifier]["verdict"] == "affirming"
    del appraisal[f"ear{PROFILES[profile].separator}status"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(said, SCHEMA)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_refusal_has_a_token_without_evidence(profile: str) -> None:
    refused = replace(BARE, claims=None, verdict=Verdict.MALFORMED, mismatches=(Mismatch("report", "x", "y", "", Verdict.MALFORMED),))  # fmt: skip
    said = claims(refused, profile=PROFILES[profile])
    jsonschema.validate(said, SCHEMA)
    [appraisal] = said["submods"].values()
    assert PROFILES[profile].evidence not in appraisal
    assert appraisal[f"ear{PROFILES[profile].separator}status"] == "contraindicated"
    assert appraisal[PROFILES[profile].verifier]["mismatches"][0]["field"] == "report"


@pytest.mark.parametrize(("size", "fits"), [(7, False), (8, True), (64, True), (65, False), (0, False)])
def test_a_nonce_has_8_to_64_bytes(size: int, fits: bool) -> None:  # noqa: FBT001
    if fits:
        text = claims(BARE, nonce=bytes(range(size)))["eat_nonce"]
        assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == bytes(range(size))
        assert "=" not in text
    else:
        with pytest.raises(ValueError, match="want 8 to 64"):
            claims(BARE, nonce=bytes(size))


@pytest.mark.parametrize("wrong", [{"issued_at": datetime(2026, 1, 1)}, {"lifetime": timedelta(0)}])  # noqa: DTZ001
def test_a_caller_s_bugs(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="want"):
        claims(BARE, **wrong)


# --- the vector


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-128, "contraindicated"), (-97, "contraindicated"), (-96, "warning"), (-33, "warning"), (-32, "affirming"), (-2, "affirming"), (-1, "none"), (0, "none"), (1, "none"), (2, "affirming"), (31, "affirming"), (32, "warning"), (95, "warning"), (96, "contraindicated"), (127, "contraindicated")],
)  # fmt: skip
def test_tiers(value: int, expected: str) -> None:
    assert tier(value) is Tier(expected)


def strict(rules: dict[str, object]) -> AttestationResult:
    tree, chip = Amd(), Chip()
    return appraise(
        chip.report(5, CURRENT_MIT_VECTOR=7, LAUNCH_MIT_VECTOR=3),
        tree.endorsements(chip, lists=[tree.crl()]),
        policies.policy(rules),
        binding=Exact(bytes(range(64))),
        now=NOW,
        roots=tree.roots,
    )


@pytest.mark.parametrize("case", real.one_of_each())
def test_without_a_rule_nothing_but_the_measurement_is_affirmed(case: Real) -> None:
    found = vector(case.appraise())
    assert (found.instance_identity, found.file_system, found.storage_opaque, found.sourced_data) == (
        0,
        0,
        0,
        0,
    )
    if case.tee == "simulated":
        assert found == Vector(hardware=97, runtime_opaque=96)
    elif case.tee in {"snp", "azure-snp", "azure-tdx", "cca"}:
        assert (found.hardware, found.configuration) == (0, 0)
    elif case.tee == "sgx":  # ConfigurationAndSWHardeningNeeded
        assert (found.hardware, found.configuration, status(case.appraise())) == (32, 32, Tier.WARNING)


@pytest.mark.parametrize("case", [pytest.param(one, id=one.id) for one in real.load() if "debug" in one.id])
def test_who_can_be_debugged_is_contraindicated_even_where_a_policy_accepts_it(case: Real) -> None:
    result = case.appraise()
    found = vector(result)
    assert result.verdict is Verdict.AFFIRMING
    assert (found.configuration, found.executables, found.runtime_opaque) == (32, 0, 96)
    assert status(result) is Tier.CONTRAINDICATED


@pytest.mark.parametrize(
    "case", [pytest.param(one, id=one.id) for one in real.load() if one.tee in {"tdx", "sgx"}]
)
def test_intel_s_word_on_the_age_is_in_the_vector(case: Real) -> None:
    assert case.case is not None
    expected = case.case.expected
    want = 2 if "UpToDate" in expected else 0 if "no coll" in expected else 32
    assert vector(case.appraise()).hardware == want


def of(**changes: Any) -> AttestationResult:  # noqa: ANN401
    return replace(BARE, **{"claims": {"report": {"guest_policy": {"debug": False}}}, **changes})


UNCHECKED = ("crl", "tcb.Milan.reported", "report.vmpl", "report.chip_id")


@pytest.mark.parametrize(
    ("unchecked", "aspect", "value"),
    [
        ((), "instance_identity", 2),
        (("crl",), "instance_identity", 0),
        (("report.chip_id",), "instance_identity", 0),
        ((), "hardware", 2),
        (("tcb",), "hardware", 0),
        (("tcb.Milan.reported",), "hardware", 0),
        (("tcb.Milan.launch",), "hardware", 2),
        ((), "configuration", 2),
        (("guest_policy.debug",), "configuration", 0),
        (("report.vmpl",), "configuration", 0),
        (("guest_policy.smt",), "configuration", 2),
    ],
)
def test_what_a_policy_leaves_unchecked_is_not_affirmed(
    unchecked: tuple[str, ...], aspect: str, value: int
) -> None:
    assert getattr(vector(of(unchecked=unchecked)), aspect) == value


@pytest.mark.parametrize(
    ("field", "verdict", "expected"),
    [
        ("report.measurement", Verdict.POLICY_MISMATCH, {"executables": 33}),
        ("report.chip_id", Verdict.POLICY_MISMATCH, {"instance_identity": 97}),
        ("tcb.Milan.reported.snp", Verdict.TCB_TOO_LOW, {"hardware": 32}),
        ("report.signer", Verdict.POLICY_MISMATCH, {"hardware": 96}),
        ("guest_policy.debug", Verdict.POLICY_MISMATCH, {"configuration": 96}),
        ("something.new", Verdict.POLICY_MISMATCH, {"configuration": 96}),
    ],
)
def test_a_mismatch_leaves_its_mark(field: str, verdict: Verdict, expected: dict[str, int]) -> None:
    result = of(verdict=verdict, mismatches=(Mismatch(field, "x", "y", "", verdict),))
    good = Vector(instance_identity=2, configuration=2, executables=3, hardware=2, runtime_opaque=2)
    assert vector(result) == replace(good, **expected)
    assert status(result) is Tier.CONTRAINDICATED


@pytest.mark.parametrize("verdict", [Verdict.WRONG_BINDING, Verdict.EXPIRED])
def test_evidence_that_answers_another_question_affirms_nothing(verdict: Verdict) -> None:
    other = Mismatch("report.report_data", "x", "y", "", verdict)
    low = Mismatch("tcb.Milan.reported.snp", "x", "y", "", Verdict.TCB_TOO_LOW)
    assert vector(of(verdict=verdict, mismatches=(other,))) == Vector()
    assert vector(of(verdict=verdict, mismatches=(other, low))) == Vector(hardware=32)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.MALFORMED, Vector(1, 1, 1, 0, 1, 1)),
        (Verdict.NOT_AUTHENTIC, Vector(99, 99, 99, 0, 99, 99)),
        (Verdict.REVOKED, Vector(instance_identity=96, hardware=96)),
        (Verdict.TCB_TOO_LOW, Vector(hardware=96)),
        (Verdict.EXPIRED, Vector()),
        (Verdict.CANNOT_TELL, Vector()),
    ],
)
def test_what_nothing_proves(verdict: Verdict, expected: Vector) -> None:
    result = of(claims=None, verdict=verdict, mismatches=(Mismatch("x", "x", "y", "", verdict),))
    assert (vector(result), status(result)) == (expected, Tier.CONTRAINDICATED)


def test_an_unknown_platform_of_arm_is_not_recognised() -> None:
    unknown = Mismatch("platform.cpak", "x", "y", "", Verdict.NOT_AUTHENTIC)
    assert (
        vector(of(tee="cca", claims={}, verdict=Verdict.NOT_AUTHENTIC, mismatches=(unknown,))).hardware == 97
    )


def test_a_claim_that_is_missing_counts_as_debug() -> None:
    assert vector(of(claims={})).runtime_opaque == 96


def test_a_fake_that_fits_in_everything_is_affirmed_but_for_the_chip_that_nobody_names() -> None:
    result = strict(policies.STRICT)
    assert result.verdict is Verdict.AFFIRMING
    assert vector(result) == Vector(configuration=2, executables=3, hardware=2, runtime_opaque=2)
    named = policies.changed("report.chip_id", [result.claims["chip_id"]])  # type: ignore[index]
    assert vector(strict(named)).instance_identity == 2


@pytest.mark.parametrize(
    ("unchecked", "identity", "hardware"),
    [
        ((), 2, 2),
        (("ak.root",), 2, 2),
        (("ak.key",), 0, 2),  # a root vouches for many
        (("crl", "ak.root"), 0, 2),
        (("ak.root", "tpm.firmware_version"), 2, 0),
    ],
)
def test_a_tpm_is_recognised_by_its_key_and_good_by_its_firmware(
    unchecked: tuple[str, ...], identity: int, hardware: int
) -> None:
    found = vector(of(tee="tpm", claims={}, unchecked=unchecked))
    assert (found.instance_identity, found.hardware) == (identity, hardware)


@pytest.mark.parametrize(
    ("field", "verdict", "identity", "hardware"),
    [
        ("ak.key", Verdict.NOT_AUTHENTIC, 97, 2),
        ("ak.root", Verdict.NOT_AUTHENTIC, 2, 97),
        ("ak.root", Verdict.CANNOT_TELL, 2, 0),
        ("tpm.firmware_version", Verdict.POLICY_MISMATCH, 2, 96),
    ],
)
def test_what_is_wrong_with_a_tpm(field: str, verdict: Verdict, identity: int, hardware: int) -> None:
    wrong = Mismatch(field, "x", "y", "", verdict)
    found = vector(of(tee="tpm", claims={}, verdict=verdict, mismatches=(wrong,)))
    assert (found.instance_identity, found.hardware) == (identity, hardware)


GOOD, HELD = {"name": "a", "state": "good"}, {"name": "b", "state": "certificateHold"}


@pytest.mark.parametrize(
    ("states", "manifests", "hardware"),
    [([GOOD, GOOD], None, 2), ([GOOD, HELD], None, 32), ([GOOD], {"driver": {"states": [HELD]}, "vbios": None}, 32)],
)  # fmt: skip
def test_a_certificate_on_hold_is_no_affirmation_even_where_a_policy_accepts_it(
    states: Any,  # noqa: ANN401
    manifests: Any,  # noqa: ANN401
    hardware: int,
) -> None:
    result = of(tee="nvidia", claims={"states": states, "manifests": manifests})
    assert vector(result).hardware == hardware
    assert status(result) is (Tier.AFFIRMING if hardware == 2 else Tier.WARNING)
    refused = Mismatch("device.certificate_hold", "x", "y", "", Verdict.REVOKED)
    assert vector(replace(result, verdict=Verdict.REVOKED, mismatches=(refused,))).hardware == 96


FIELDS = st.sampled_from(["report.measurement", "report.chip_id", "tcb.x", "guest_policy.debug", "pcrs.pcr4", "platform.cpak", "new"])  # fmt: skip
MISMATCHES = st.lists(
    st.builds(Mismatch, FIELDS, st.just("x"), st.just("y"), st.just(""), st.sampled_from(list(Verdict)[:-1])), min_size=1, max_size=4
)  # fmt: skip


@given(
    st.sampled_from(sorted(kinds.KINDS)),
    MISMATCHES,
    st.sampled_from([None, {}, {"report": {"guest_policy": {"debug": False}, "debug": False}}]),
    st.sets(st.sampled_from(UNCHECKED)),
)
def test_no_refusal_is_ever_affirmed(
    tee: str, mismatches: list[Mismatch], said: dict[str, Any] | None, unchecked: set[str]
) -> None:
    result = replace(BARE, tee=tee, simulated=kinds.KINDS[tee].simulated, claims=said, mismatches=tuple(mismatches), unchecked=tuple(unchecked), verdict=mismatches[0].verdict)  # fmt: skip
    assert status(result) is Tier.CONTRAINDICATED
    for profile in PROFILES.values():
        VALIDATOR.validate(claims(result, profile=profile))
    found = vector(result)
    assert all(-128 <= value <= 127 for value in found)
    if result.simulated:
        assert all(tier(value) is not Tier.AFFIRMING for value in found)


def test_every_kind_has_its_row() -> None:
    assert set(aspects.ASPECTS) == set(kinds.KINDS)
    assert {"snp", "nvidia", "simulated"} <= set(ear.TRUSTEE.submodules)
    assert set(ear.TRUSTEE.submodules) == set(ear.TRUSTEE.inside) == set(kinds.KINDS)
    assert trustworthiness.Vector().to_json()["file-system"] == 0
    assert ear_token.SOURCE
