"""Quotes of a fake TPM: what is right is accepted, and each thing that is wrong has its error."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from attestation import files
from attestation.appraise import appraise
from attestation.binding import Exact, Shim, report_data
from attestation.endorsements import Endorsements
from attestation.errors import (
    AppraisalError,
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    PolicyError,
    RevokedError,
    SignatureError,
    ValidityError,
)
from attestation.kinds import KINDS
from attestation.policy import load
from attestation.result import AttestationResult
from attestation.tpm import evidence, public_area, quote, signature
from attestation.tpm.authenticate import Authenticated, authenticate
from attestation.trail import Outcome, Trail
from attestation.verdict import Verdict
from tests.fakes import tpm
from tests.fakes.aws import MADE, NOW
from tests.fakes.policies import changed, policy
from tests.fakes.tpm import AK, ECDSA, PCRS, RSAPSS, SHA384, Tpm, certificate, revocation_list

EXAMPLE = Path(__file__).resolve().parents[3] / "attestation" / "examples" / "policy-tpm.toml"
CHAIN = (certificate("ak", "issuer"), certificate("issuer", "root"), certificate("root", "root"))
LISTS = (revocation_list("issuer"), revocation_list("root"))
P256 = Tpm(curve="P-256", scheme=ECDSA)
P384 = Tpm(curve="P-384", scheme=ECDSA, digest=SHA384)


def judge(fake: Tpm, *lists: bytes, **options: Any) -> Authenticated:  # noqa: ANN401
    kind = KINDS["tpm"]
    return authenticate(
        evidence.parse(fake.evidence()), Endorsements((), lists), kind.roots, **{"now": NOW, **options}
    )


@pytest.mark.parametrize(
    "fake",
    [
        Tpm(),
        Tpm(scheme=RSAPSS),
        Tpm(scheme=RSAPSS, digest=SHA384),
        Tpm(digest=SHA384),
        Tpm(bank=SHA384),
        Tpm(with_size=True),
        Tpm(bits=3072),
        P256,
        P384,
        replace(P384, bank=SHA384),
        Tpm(selected=(23,)),
    ],
)
def test_good_quotes_are_authentic(fake: Tpm) -> None:
    proven = judge(fake)
    assert proven.evidence.quote.pcrs == fake.registers
    assert (proven.key_sha256, proven.chain) == (fake.spki(), ())
    if not fake.with_size:
        assert proven.evidence.key.name == fake.name()


def test_certificates_lead_to_a_root() -> None:
    proven = judge(Tpm(certificates=CHAIN), *LISTS, crl_required=True)
    assert [one.common_name for one in proven.chain] == ["ak", "issuer", "root"]
    assert len(proven.revocation_lists) == 2
    unnamed = (certificate("ak", "issuer", unnamed=True), *CHAIN[1:])
    assert len(judge(Tpm(certificates=unnamed)).chain) == 3


AIK, TLS_SERVER, EK, ANY = "2.23.133.8.3", "1.3.6.1.5.5.7.3.1", "2.23.133.8.1", "2.5.29.37.0"


@pytest.mark.parametrize("purposes", [(AIK,), (TLS_SERVER, AIK)])
def test_a_certificate_of_an_attestation_key_may_say_so(purposes: tuple[str, ...]) -> None:
    assert (
        len(judge(Tpm(certificates=(certificate("ak", "issuer", purposes=purposes), *CHAIN[1:]))).chain) == 3
    )


@pytest.mark.parametrize("purposes", [(TLS_SERVER,), (EK,), (ANY,), (TLS_SERVER, EK)])
def test_a_key_that_was_certified_for_something_else_makes_no_quotes(purposes: tuple[str, ...]) -> None:
    """Else whoever has a server's key below the same root writes its public area, and is a TPM."""
    with pytest.raises(NotAuthenticError) as caught:
        judge(Tpm(certificates=(certificate("ak", "issuer", purposes=purposes), *CHAIN[1:])))
    assert caught.value.where == "certificate ak"


def test_the_key_of_an_issuer_makes_no_quotes() -> None:
    with pytest.raises(NotAuthenticError) as caught:
        judge(Tpm(certificates=(certificate("ak", "issuer", authority=True), *CHAIN[1:])))
    assert caught.value.where == "certificate ak"


BROKEN: dict[str, tuple[Tpm, type[AuthenticationError], str]] = {
    "signed by another key": (Tpm(signer="other"), SignatureError, "TPM quote"),
    "signed by another key, PSS": (Tpm(signer="other", scheme=RSAPSS), SignatureError, "TPM quote"),
    "signed by another key, ECDSA": (replace(P256, signer="other"), SignatureError, "TPM quote"),
    "another scheme than the key's": (Tpm(key_scheme=RSAPSS), NotAuthenticError, "signature.sigAlg"),
    "a key without a scheme": (Tpm(key_scheme=0x10), NotAuthenticError, "signature.sigAlg"),
    "another kind of key": (Tpm(scheme=ECDSA, curve=None), EvidenceFormatError, "signature"),
    "a short key": (Tpm(bits=1024), NotAuthenticError, "attestation key"),
    "registers that were not quoted": (Tpm(pcrs={4: bytes(32)}), NotAuthenticError, "quote.pcrDigest"),
    "an issuer is missing": (
        Tpm(certificates=(CHAIN[0], CHAIN[2])),
        MissingEndorsementError,
        "issuer of ak",
    ),
    "certificates of other keys": (Tpm(certificates=CHAIN[1:]), NotAuthenticError, "certificates of the key"),
    "certificate not signed by its issuer": (
        Tpm(certificates=(certificate("ak", "issuer", signer="other"), *CHAIN[1:])),
        SignatureError,
        "ak",
    ),
    "a root that did not sign itself": (
        Tpm(certificates=(*CHAIN[:2], certificate("root", "root", signer="other"))),
        SignatureError,
        "root",
    ),
    "a root that allows no issuer": (
        Tpm(certificates=(*CHAIN[:2], certificate("root", "root", path_length=0))),
        NotAuthenticError,
        "root",
    ),
    "a certificate has expired": (
        Tpm(certificates=(CHAIN[0], certificate("issuer", "root", start=MADE - timedelta(days=9)), CHAIN[2])),
        ValidityError,
        "issuer",
    ),
    "something critical": (
        Tpm(certificates=(certificate("ak", "issuer", critical="1.2.3"), *CHAIN[1:])),
        NotAuthenticError,
        "ak",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_thing_that_is_wrong(name: str) -> None:
    fake, error, where = BROKEN[name]
    with pytest.raises(error) as caught:
        judge(fake)
    assert type(caught.value) is error
    assert caught.value.where.startswith(where)


@pytest.mark.parametrize(
    "bits", [*({*AK} - {one} for one in ("restricted", "sign", "fixed_tpm")), {*AK, "decrypt"}]
)
def test_a_key_that_may_sign_what_no_tpm_made(bits: set[str]) -> None:
    with pytest.raises(NotAuthenticError) as caught:
        judge(Tpm(attributes=tuple(bits)))
    assert caught.value.where == "attestation key"


def test_revocation() -> None:
    with pytest.raises(RevokedError):
        judge(Tpm(certificates=CHAIN), revocation_list("issuer", 7))
    for rest in (LISTS[:1], LISTS[1:], ()):
        with pytest.raises(MissingEndorsementError):
            judge(Tpm(certificates=CHAIN), *rest, crl_required=True)
    with pytest.raises(MissingEndorsementError):
        judge(Tpm(), *LISTS, crl_required=True)


MALFORMED: dict[str, Tpm] = {
    "no quote": Tpm(kind=0x8017),
    "not made by a TPM": Tpm(magic=0xFF544348),
    "two banks": Tpm(banks=2),
    "a bank of SHA-1": Tpm(bank=0x04),
    "no registers": Tpm(selected=()),
    "something behind the quote": Tpm(behind=b"\0"),
    "something behind the signature": Tpm(behind_signature=b"\0"),
    "a key that decrypts": Tpm(symmetric=0x06),
    "a key with another name": Tpm(name_hash=0x04),
    "a key on P-521": Tpm(curve="P-521", scheme=ECDSA),
    "a register too many": Tpm(pcrs={16: bytes(32)}),
    "a register of another size": Tpm(pcrs={4: bytes(31)}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_evidence_of_another_form(name: str) -> None:
    with pytest.raises(EvidenceFormatError):
        evidence.parse(MALFORMED[name].evidence())


@pytest.mark.parametrize("part", ["quote", "signature", "pcrs", "ak_public"])
def test_parts_that_are_missing_or_cut(part: str) -> None:
    whole = Tpm().parts()
    with pytest.raises(EvidenceFormatError):
        evidence.parse(json.dumps({name: value for name, value in whole.items() if name != part}).encode())
    for size in range(0, len(whole[part]), 2):
        with pytest.raises(EvidenceFormatError):
            evidence.parse(json.dumps({**whole, part: whole[part][:size]}).encode())
    with pytest.raises(EvidenceFormatError):
        evidence.parse(json.dumps({**whole, part: "zz"}).encode())
    with pytest.raises(EvidenceFormatError):
        evidence.parse(bytes(evidence.MAXIMUM_SIZE + 1))


@pytest.mark.parametrize("part", ["quote", "signature", "pcrs", "ak_public"])
def test_no_damaged_copy_is_accepted(part: str) -> None:
    whole, name = Tpm().parts(), Tpm().name()
    data = bytes.fromhex(whole[part])
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        text = json.dumps({**whole, part: damaged.hex()}).encode()
        try:
            proven = authenticate(evidence.parse(text), Endorsements(), KINDS["tpm"].roots, now=NOW)
        except (EvidenceFormatError, NotAuthenticError):
            continue
        # What nobody signed about the key is in its name, which a policy has to give.
        assert part == "ak_public"
        assert proven.evidence.key.name != name


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for parse in (quote.parse, signature.parse, public_area.parse, evidence.parse):
        for head in (
            b"",
            Tpm().message()[:6],
            Tpm().signature()[:4],
            Tpm().public()[:10],
            P256.public()[:10],
        ):
            try:
                parse(head + data)
            except EvidenceFormatError:
                continue


STRICT: dict[str, object] = {
    **tomllib.loads(EXAMPLE.read_text()),
    "binding": "exact",
    "crl": "unchecked",
    "ak": {"key": [Tpm().name().hex()], "root": "unchecked"},
    "ek": {"root": "unchecked", "software_root": "unchecked", "activation": "unchecked"},
    "pcrs": {f"pcr{number}": [PCRS["sha256"][number].hex()] for number in range(16)},
    "tpm": {
        "firmware_version": ["0000000000001122"],
        "clock": 1000,
        "clock_safe": "set",
        "resets": [2],
        "restarts": [3, 4],
    },
}


EXACT = Exact(bytes(64))


def appraised(
    fake: Tpm, values: dict[str, object] = STRICT, binding: Exact | Shim = EXACT
) -> AttestationResult:
    return appraise(fake.evidence(), Endorsements(), policy(values), binding=binding, now=NOW)


def refused(fake: Tpm, values: dict[str, object] = STRICT) -> dict[str, Verdict]:
    with pytest.raises(AppraisalError) as caught:
        appraised(fake, values)
    return {mismatch.field: mismatch.verdict for mismatch in caught.value.mismatches}


def test_what_the_policy_describes_is_affirmed() -> None:
    assert appraised(Tpm()).unchecked == (
        "crl",
        "ak.root",
        "ek.root",
        "ek.software_root",
        "ek.activation",
    )
    assert appraised(Tpm(), changed("ak.key", [Tpm().spki().hex()], STRICT)).verdict is Verdict.AFFIRMING


def test_a_root_may_vouch_for_the_key() -> None:
    root = tpm.spki(tpm.rsa_key("root"))
    values = {**STRICT, "ak": {"key": "unchecked", "root": [root.hex()]}}
    assert appraised(Tpm(certificates=CHAIN), values).verdict is Verdict.AFFIRMING
    assert refused(Tpm(), values) == {"ak.root": Verdict.CANNOT_TELL}
    other = {**STRICT, "ak": {"key": "unchecked", "root": [bytes(32).hex()]}}
    assert refused(Tpm(certificates=CHAIN), other) == {"ak.root": Verdict.NOT_AUTHENTIC}
    issuer = {**STRICT, "ak": {"key": "unchecked", "root": [tpm.spki(tpm.rsa_key("issuer")).hex()]}}
    assert refused(Tpm(certificates=CHAIN), issuer) == {"ak.root": Verdict.NOT_AUTHENTIC}


@pytest.mark.parametrize("later", [-1, 1])
def test_a_root_that_another_one_certified_is_still_a_root(later: int) -> None:
    values = {**STRICT, "ak": {"key": "unchecked", "root": [tpm.spki(tpm.rsa_key("root")).hex()]}}
    crossed = certificate("root", "other", start=MADE + timedelta(seconds=later))
    for more in ((crossed,), (crossed, certificate("other", "other"))):
        for chain in ((*CHAIN, *more), (*more, *CHAIN)):
            assert appraised(Tpm(certificates=chain), values).verdict is Verdict.AFFIRMING
    by_the_other = {**values, "ak": {"key": "unchecked", "root": [tpm.spki(tpm.rsa_key("other")).hex()]}}
    chain = (*CHAIN[:2], crossed, certificate("other", "other"))
    assert appraised(Tpm(certificates=chain), by_the_other).verdict is Verdict.AFFIRMING


BRIDGED = (
    certificate("ak", "issuer"),
    certificate("issuer", "bridge"),
    certificate("bridge", "bridge", start=MADE + timedelta(seconds=1)),
    certificate("bridge", "root"),
    certificate("root", "root"),
)


@pytest.mark.parametrize("root", ["root", "bridge"])
def test_the_chain_leads_to_the_root_that_the_policy_names(root: str) -> None:
    """The other one has certified it, so that both could be the end."""
    values = {**STRICT, "ak": {"key": "unchecked", "root": [tpm.spki(tpm.rsa_key(root)).hex()]}}
    claims = appraised(Tpm(certificates=BRIDGED), values).claims
    assert claims is not None
    assert f"'name': '{root}'" in str(claims["chain"])[-300:]


@pytest.mark.parametrize("root", ["issuer", "ak", "other"])
def test_no_chain_leads_to_a_root_that_is_none(root: str) -> None:
    values = {**STRICT, "ak": {"key": "unchecked", "root": [tpm.spki(tpm.rsa_key(root)).hex()]}}
    assert refused(Tpm(certificates=BRIDGED), values) == {"ak.root": Verdict.NOT_AUTHENTIC}


def test_no_root_is_called_pinned_that_the_policy_does_not_name() -> None:
    root = tpm.spki(tpm.rsa_key("root"))
    for named, outcome in (("unchecked", Outcome.UNCHECKED), ([root.hex()], Outcome.HELD)):
        values = {**STRICT, "ak": {"key": [Tpm().name().hex()], "root": named}}
        trail, data = Trail(), Tpm(certificates=CHAIN).evidence()
        appraise(data, Endorsements(), policy(values), binding=EXACT, now=NOW, trail=trail)
        assert [one.outcome for one in trail.checks if one.field == "ak.root"] == [outcome]
        assert not [one for one in trail.checks if "pinned" in one.want]
        assert sum(one.field.startswith("certificate ") for one in trail.checks) == 2


def test_the_key_has_to_be_the_one_that_the_policy_names() -> None:
    assert refused(Tpm(key="other", signer="other")) == {"ak.key": Verdict.NOT_AUTHENTIC}
    more = Tpm(attributes=tuple(one for one in AK if one != "fixed_parent"))
    assert refused(more) == {"ak.key": Verdict.NOT_AUTHENTIC}


ONE_WRONG: dict[str, tuple[Tpm, Verdict]] = {
    "report.report_data": (Tpm(extra_data=bytes(32)), Verdict.WRONG_BINDING),
    "tpm.clock": (Tpm(clock=(999, 2, 3, 1, 0x1122)), Verdict.POLICY_MISMATCH),
    "tpm.resets": (Tpm(clock=(1000, 3, 3, 1, 0x1122)), Verdict.POLICY_MISMATCH),
    "tpm.restarts": (Tpm(clock=(1000, 2, 5, 1, 0x1122)), Verdict.POLICY_MISMATCH),
    "tpm.clock_safe": (Tpm(clock=(1000, 2, 3, 0, 0x1122)), Verdict.POLICY_MISMATCH),
    "tpm.firmware_version": (Tpm(clock=(1000, 2, 3, 1, 0x1123)), Verdict.POLICY_MISMATCH),
    "pcrs.pcr11": (Tpm(selected=tuple(one for one in range(16) if one != 11)), Verdict.POLICY_MISMATCH),
}


@pytest.mark.parametrize("field", ONE_WRONG)
def test_one_thing_that_is_not_accepted(field: str) -> None:
    fake, verdict = ONE_WRONG[field]
    assert refused(fake) == {field: verdict}


@pytest.mark.parametrize("number", range(16))
def test_each_register_is_compared(number: int) -> None:
    values = changed(f"pcrs.pcr{number}", ["00" * 32], STRICT)
    assert refused(Tpm(), values) == {f"pcrs.pcr{number}": Verdict.POLICY_MISMATCH}


def test_registers_of_another_bank_are_other_registers() -> None:
    assert set(refused(Tpm(bank=SHA384))) == {f"pcrs.pcr{number}" for number in range(16)}


def test_the_quote_is_bound_to_nonce_key_and_plan() -> None:
    values = changed("binding", "shim", STRICT)
    parts = (bytes(range(32)), bytes(32), bytes(range(32, 64)))
    bound = Tpm(extra_data=hashlib.sha256(report_data(*parts)).digest())
    appraised(bound, values, Shim(*parts))
    with pytest.raises(AppraisalError) as caught:
        appraised(Tpm(), values, Shim(*parts))
    assert caught.value.result.verdict is Verdict.WRONG_BINDING


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ak", {"key": "unchecked", "root": "unchecked"}),
        ("ak.key", ["00"]),
        ("ak.root", ["00" * 34]),
        ("pcrs.pcr4", "unchecked"),
        ("pcrs.pcr4", ["00" * 20]),
        ("tpm.clock", -1),
        ("tpm.resets", []),
        ("boot", "kernel-hashes"),
    ],
)
def test_policies_that_settle_nothing(path: str, value: object) -> None:
    free = {**STRICT, "pcrs": dict.fromkeys((f"pcr{number}" for number in range(16)), "unchecked")}
    base = changed("pcrs.pcr11", ["00" * 32], changed("pcrs.pcr4", ["00" * 32], free))
    policy(base)
    with pytest.raises(PolicyError):
        policy(changed(path, value, base))


def test_a_firmware_that_measured_no_program_covers_no_boot() -> None:
    fake, values = Tpm(measured={4: bytes(32)}), changed("pcrs.pcr4", ["00" * 32], STRICT)
    assert refused(fake, values) == {"boot": Verdict.POLICY_MISMATCH}
    appraised(Tpm(measured={8: bytes(32)}), changed("pcrs.pcr8", ["00" * 32], STRICT))


def test_parts_are_read_from_a_directory(tmp_path: Path) -> None:
    fake = Tpm(certificates=CHAIN)
    names = {"quote": "quote.msg", "signature": "quote.sig", "pcrs": "quote.pcrs", "ak_public": "ak.pub"}
    for part, name in {**names, "ak_certificates": "ak.crt"}.items():
        (tmp_path / name).write_bytes(bytes.fromhex(fake.parts()[part]))
    read = json.loads(files.read_evidence(tmp_path))
    assert read == {part: value for part, value in fake.parts().items() if part != "signature"} | {
        "signature": read["signature"]
    }
    (tmp_path / "ak.pub").unlink()
    with pytest.raises(EvidenceFormatError, match=r"ak\.pub"):
        files.read_evidence(tmp_path)


def test_the_example_can_be_loaded() -> None:
    assert load(EXAMPLE.read_text(), EXAMPLE.name).tee == "tpm"
