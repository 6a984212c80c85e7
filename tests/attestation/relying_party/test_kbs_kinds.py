"""Every kind of evidence that guests of Confidential Containers wrap: fakes with real keys get what they ask for, real evidence is authentic."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from attestation import endorsements, kinds, policy_init
from attestation.ear import VerifierId
from attestation.endorsements import Endorsements
from attestation.policy import Policy, load
from attestation.relying_party import audit, kbs, kbs_evidence, token
from attestation.relying_party.database import Database
from attestation.relying_party.errors import RefusedError, ReleaseError, RequestError
from attestation.relying_party.ledger import Ledger
from attestation.relying_party.party import RelyingParty, Terms
from attestation.verdict import Verdict
from tests import vectors
from tests.attestation.azure.test_authenticate import ON_TDX, SNP, supplied
from tests.attestation.cca.test_cca import KEYS, STRICT as CCA, Token
from tests.attestation.nvidia.test_nvidia import STRICT as GPU
from tests.attestation.test_policy_init import material
from tests.fakes import nvidia, policies, relying_party as fakes
from tests.fakes.aws import NOW
from tests.fakes.azure import Azure, attest as quoted
from tests.fakes.kbs import Guest, nvidia as wrapped_devices, taken_apart, vtpm
from tests.fakes.nvidia import Device
from tests.fakes.relying_party import encoded
from tests.vectors import Case

NAME = "default/key/1"
SECRET = b"what a guest asks for"


def party(
    database: Database, known: Mapping[str, Policy], more: Endorsements, roots: Mapping[str, Any]
) -> RelyingParty:
    made = RelyingParty(
        Ledger(database, fakes.KEYS, "one"), known, token.fresh_key(), lambda *_: more, os.urandom, Terms(VerifierId("tests", "1")), roots
    )  # fmt: skip
    fakes.put(made, NAME, SECRET, "it")
    return made


def exact(values: dict[str, object]) -> Policy:
    return policies.policy({**values, "binding": "exact", "crl": "unchecked"})


def ask(
    party: RelyingParty, guest: Guest, wrap: Callable[[bytes], Mapping[str, Any]], now: datetime = NOW
) -> bytes:
    """Return what a guest gets whose attester wraps evidence for a digest."""
    challenge, cookie = kbs.auth(party, encoded(guest.request()), now)
    sent = guest.answer(challenge, wrap(guest.digest(str(challenge["nonce"]), "")))
    kbs.attest(party, cookie, encoded(sent), "peer", now)
    return guest.open(kbs.resource(party, cookie, NAME, "peer", now))  # type: ignore[arg-type]


# --- Azure and Arm, with keys of our own


def azure(tee: str, version: int, certificate: bytes = b"") -> Callable[[bytes], Mapping[str, Any]]:
    def wrap(digest: bytes) -> Mapping[str, Any]:
        fake = Azure(tee=tee, message=quoted(digest, tuple(range(24))))
        return vtpm(fake.parts(), version, certificate)

    return wrap


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("tee", ["snp", "tdx"])
def test_machines_on_azure_in_every_shape(database: Database, tee: str, version: int) -> None:
    more, roots = supplied(Azure(tee=tee))
    kind = f"azure-{tee}"
    made = party(database, {"it": exact(SNP if tee == "snp" else ON_TDX)}, more, {kind: roots})
    vcek = more.certificates[0] if tee == "snp" else b""
    guest = Guest(tee=f"az-{tee}-vtpm")
    if (tee, version) == ("tdx", 2):
        with pytest.raises(RequestError):
            ask(made, guest, azure(tee, version))
    else:
        assert ask(made, guest, azure(tee, version, vcek)) == SECRET


def test_a_quote_that_holds_something_else_than_the_digest(database: Database) -> None:
    more, roots = supplied(Azure())
    made = party(database, {"it": exact(SNP)}, more, {"azure-snp": roots})
    wrap = azure("snp", 1, more.certificates[0])
    for change in (
        lambda digest: digest.ljust(64, b"\0"),
        lambda digest: digest[:32],
        lambda _: b"",
        lambda digest: bytes([digest[0] ^ 1]) + digest[1:],
    ):
        with pytest.raises(RefusedError) as caught:
            ask(made, Guest(tee="az-snp-vtpm"), lambda digest, change=change: wrap(change(digest)))  # type: ignore[misc]
        assert caught.value.verdict is Verdict.WRONG_BINDING


def test_a_realm(database: Database) -> None:
    made = party(database, {"it": exact(CCA)}, KEYS, {})
    guest = Guest(tee="cca")

    def wrap(digest: bytes, change: bytes = b"") -> Mapping[str, Any]:
        return {"token": list(Token(realm={10: (change or digest).ljust(64, b"\0")}).evidence())}

    assert ask(made, guest, wrap) == SECRET
    with pytest.raises(RefusedError) as caught:
        ask(made, guest, lambda digest: wrap(digest, b"other"))
    assert caught.value.verdict is Verdict.WRONG_BINDING


# --- real evidence, which answers another question


@dataclass(frozen=True)
class Real:
    tee: str
    wrap: Callable[[Case], Mapping[str, Any]]
    devices: bool = False


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def of_azure(version: int) -> Callable[[Case], Mapping[str, Any]]:
    def wrap(case: Case) -> Mapping[str, Any]:
        parts = {"hcl_report": case.read("hcl").hex(), "tpm_quote": json.loads(case.read("tpm_quote"))}
        if "quote" in case.files:
            return vtpm({**parts, "td_quote": case.read("quote").hex()}, version)
        return vtpm(parts, version, endorsements.parse(case.read("vek")).certificates[0])

    return wrap


REAL = {
    "snp/siena-v5-live": Real("snp", lambda case: {"attestation_report": taken_apart(case.read("report"))}),
    "azure-vtpm/snp-milan-v2": Real("az-snp-vtpm", of_azure(2)),
    "azure-vtpm/tdx-v1": Real("az-tdx-vtpm", of_azure(1)),
    "tdx/phala-v4-uptodate": Real(
        "tdx", lambda case: {"cc_eventlog": None, "quote": b64(case.read("quote"))}
    ),
    "sgx/phala-sgx-v3": Real("sgx", lambda case: {"quote": b64(case.read("quote"))}),
}


@pytest.mark.parametrize(
    "case",
    [case for case in vectors.load("snp", "azure", "dcap") if case.id in REAL],
    ids=lambda case: case.id,
)
def test_real_evidence_is_authentic_and_no_answer_to_this_question(database: Database, case: Case) -> None:
    tee, evidence, more = material(case)
    at = case.time or NOW
    text = policy_init.draft(evidence, more, tee, label="seen", now=at)
    known = {"it": load(text.replace('binding = "shim" ', 'binding = "exact"'), "drafted")}
    assert known["it"].binding == "exact"
    real = REAL[case.id]
    with pytest.raises(RefusedError) as caught:
        ask(party(database, known, more, {}), Guest(tee=real.tee), lambda _: real.wrap(case), at)
    assert caught.value.verdict is Verdict.WRONG_BINDING
    (reason,) = last(database)["policies"][0]["reasons"]
    assert reason.startswith("report.report_data: found")


@pytest.mark.parametrize("case", vectors.cases("cca"))
def test_a_real_token_is_unwrapped_as_it_is(case: Case) -> None:
    wrapped = {"token": list(case.read("token"))}
    assert kbs_evidence.unwrap("cca", json_object(wrapped)).evidence == case.read("token")


def last(database: Database) -> dict[str, Any]:
    return [json.loads(entry) for _, _, entry, _ in audit.entries(database, "one")][-1]  # type: ignore[no-any-return]


def json_object(value: Mapping[str, Any]) -> Any:  # noqa: ANN401
    from attestation.json_document import JsonObject  # noqa: PLC0415

    return JsonObject(value, "evidence")


# --- devices beside the machine


def chain(device: Device = Device()) -> bytes:  # noqa: B008  # frozen
    return b"".join(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in device.chain)


DEVICES = {
    "it": fakes.policy(fakes.EXACT),
    "gpu": exact(GPU),
    "other": exact({**GPU, "max_clock_skew": 1}),
    "never": exact(policies.changed("device.name", ["other"], GPU)),
}


@dataclass
class WithDevices:
    """A simulated machine, and what its devices answer; `change` of the nonce that they get."""

    count: int = 1
    hexadecimal: bool = False
    change: Callable[[bytes], bytes] = lambda nonce: nonce
    hide: bool = False
    additional: str | None = None

    def attest(self, party: RelyingParty, guest: Guest) -> str:
        from attestation.simulated.collect import collect  # noqa: PLC0415

        metadata = {"primary_tee": {"tee": "sample"}, "additional_tees": [{"tee": "nvidia", "metadata": {}}]}
        request = {**guest.request(), "extra-params": {"tee-metadata": metadata}}
        challenge, cookie = kbs.auth(party, encoded(request), NOW)
        nonce = str(challenge["nonce"])
        device = Device(nonce=self.change(guest.digest(nonce)[:32]))
        answers = wrapped_devices(*[(device.evidence(), chain())] * self.count, hexadecimal=self.hexadecimal)
        additional = json.dumps({"nvidia": answers}) if self.additional is None else self.additional
        report = collect(guest.digest(nonce, additional).ljust(64, b"\0"))[0]
        sent = guest.answer(challenge, {"simulated_report": b64(report)}, "" if self.hide else additional)
        kbs.attest(party, cookie, encoded(sent), "peer", NOW)
        return cookie


@pytest.fixture
def composite(database: Database) -> RelyingParty:
    made = party(database, DEVICES, Endorsements(), {"nvidia": nvidia.roots()})
    for number, by in enumerate(("it+gpu", "it+gpu+other", "gpu", "gpu+gpu", "it+never", "it+it", "never")):
        fakes.put(made, f"default/key/{number + 2}", SECRET, by)
    return made


def released(party: RelyingParty, cookie: str) -> set[str]:
    """Return the policies of the resources that a session gets."""
    found = set()
    for number in range(1, 9):
        name = f"default/key/{number}"
        try:
            kbs.resource(party, cookie, name, "peer", NOW)
        except ReleaseError:
            continue
        found.add(party.resource(name).policy)
    return found


@pytest.mark.parametrize("hexadecimal", [False, True], ids=["now", "at first"])
def test_a_machine_with_devices_gets_what_takes_both(composite: RelyingParty, hexadecimal: bool) -> None:  # noqa: FBT001
    cookie = WithDevices(count=8, hexadecimal=hexadecimal).attest(composite, Guest())
    assert released(composite, cookie) == {"it", "it+gpu", "it+gpu+other"}
    said = last_attested(composite)
    assert (said["tee"], sorted(said["policies"])) == (["SIMULATED", "nvidia"], ["gpu", "it", "other"])


def last_attested(party: RelyingParty) -> dict[str, Any]:
    entries = [json.loads(entry) for _, _, entry, _ in audit.entries(party.ledger.database, "one")]
    return [one for one in entries if one["event"] == "attested"][-1]  # type: ignore[no-any-return]


def test_a_machine_without_devices_gets_nothing_that_takes_them(composite: RelyingParty) -> None:
    cookie = WithDevices(additional="").attest(composite, Guest())
    assert released(composite, cookie) == {"it"}


def test_a_resource_for_machines_with_devices_is_not_released_by_our_own_protocol(
    composite: RelyingParty,
) -> None:
    with pytest.raises(RequestError):
        composite.policy_of(composite.resource("default/key/2"))


@pytest.mark.parametrize(
    "broken",
    [
        WithDevices(change=lambda _: bytes(32)),
        WithDevices(change=lambda nonce: nonce[::-1]),
        WithDevices(hide=True),  # the machine bound it, so leaving it out shows
    ],
)
def test_devices_that_answer_something_else(composite: RelyingParty, broken: WithDevices) -> None:
    with pytest.raises(RefusedError) as caught:
        broken.attest(composite, Guest())
    assert caught.value.verdict is Verdict.WRONG_BINDING


def test_a_device_that_no_policy_accepts_refuses_the_machine(database: Database) -> None:
    known = {name: DEVICES[name] for name in ("it", "never")}
    with pytest.raises(RefusedError) as caught:
        WithDevices().attest(party(database, known, Endorsements(), {"nvidia": nvidia.roots()}), Guest())
    assert caught.value.verdict is Verdict.POLICY_MISMATCH
    with pytest.raises(RefusedError) as caught:  # keys that nobody pinned
        WithDevices().attest(party(database, DEVICES, Endorsements(), {}), Guest())
    assert caught.value.verdict is Verdict.NOT_AUTHENTIC


@pytest.mark.parametrize(
    ("additional", "text"),
    [
        ("[]", "a JSON object"),
        ("no JSON", "JSON"),
        ('{"nvidia": {}}', "an array"),
        ('{"nvidia": [1]}', "a JSON object"),
        ('{"nvidia": {"device_evidence_list": []}}', "0 devices"),
        (json.dumps({"nvidia": wrapped_devices(*[(b"", b"")] * 33)}), "33 devices"),
        ('{"nvidia": {"device_evidence_list": [{"evidence": "zz!", "certificate": ""}]}}', "hexadecimal digits, or base64"),
        ('{"nvidia": {"device_evidence_list": [{"evidence": "00"}]}}', "certificate"),
        ('{"sample": {}}', "want nvidia"),
        ('{"tpm": {}}', "want nvidia"),
        ('{"nvidia": {}, "nvidia": {}}', "twice"),
    ],
)  # fmt: skip
def test_more_evidence_that_nobody_looks_at_is_refused(
    composite: RelyingParty, additional: str, text: str
) -> None:
    guest = Guest()
    with pytest.raises(RequestError) as caught:
        WithDevices(additional=additional).attest(composite, guest)
    assert text in str(caught.value)


def test_no_policy_for_devices_is_said_before_anything_is_spent(database: Database) -> None:
    made = party(database, {"it": DEVICES["it"]}, Endorsements(), {})
    with pytest.raises(RequestError, match="a kind that a policy accepts"):
        WithDevices().attest(made, Guest())
    assert [json.loads(entry)["event"] for _, _, entry, _ in audit.entries(database, "one")] == ["put"]


# --- requests


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"supported-hash-algorithms": ["sha-256", "sha-512"]}, "want sha-384"),
        ({"attestation-policy-selector": "alice"}, "the resource names its policies"),
        ({"tee-metadata": {"primary_tee": {"tee": "tdx"}}}, "want sample, as request.tee"),
        ({"tee-metadata": {}}, "primary_tee"),
        ({"tee-metadata": {"primary_tee": {"tee": "sample"}, "additional_tees": [{"tee": "hygon-dcu"}]}}, "want nvidia"),
        ({"tee-metadata": {"primary_tee": {"tee": "sample"}, "additional_tees": ["nvidia"]}}, "a JSON object"),
        ("text", "a JSON object"),
    ],
)  # fmt: skip
def test_requests_that_want_what_is_not_offered(composite: RelyingParty, more: object, text: str) -> None:
    with pytest.raises(RequestError) as caught:
        kbs.auth(composite, encoded({**Guest().request(), "extra-params": more}), NOW)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "more", [None, "", {}, {"supported-hash-algorithms": ["SHA-384"]}, {"tee-metadata": None}]
)
def test_requests_as_older_and_newer_guests_write_them(composite: RelyingParty, more: object) -> None:
    kbs.auth(composite, encoded({**Guest().request(), "extra-params": more}), NOW)


@pytest.mark.parametrize("tee", ["csv", "se", "tpm", "sev", "hygon-dcu", "nvidia"])
def test_kinds_that_are_not_taken(composite: RelyingParty, tee: str) -> None:
    with pytest.raises(
        RequestError, match="want one of snp, tdx, sgx, cca, az-snp-vtpm, az-tdx-vtpm, sample"
    ):
        kbs.auth(composite, encoded(Guest(tee=tee).request()), NOW)


def test_every_kind_that_is_named_is_one() -> None:
    for tee in ("snp", "tdx", "sgx", "cca", "az-snp-vtpm", "az-tdx-vtpm", "sample"):
        assert kbs_evidence.kind_of(tee) in kinds.KINDS


# --- what attesters of Azure cannot have written


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 3),
        ("version", 0),
        ("version", "1"),
        ("hcl_report", "AAA"),
        ("hcl_report", "++++"),
        ("hcl_report", [1]),
        ("vcek", "*"),
        ("tpm_quote.message", "zz"),
        ("tpm_quote.pcrs", [5]),
        ("tpm_quote.signature", None),
        ("tpm_quote", None),
    ],
)
def test_evidence_of_azure_with_something_else(database: Database, path: str, value: object) -> None:
    more, roots = supplied(Azure())
    made = party(database, {"it": exact(SNP)}, more, {"azure-snp": roots})

    def wrap(digest: bytes) -> Mapping[str, Any]:
        return policies.changed(path, value, azure("snp", 1, more.certificates[0])(digest))

    with pytest.raises((RequestError, RefusedError)):
        ask(made, Guest(tee="az-snp-vtpm"), wrap)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("quote.pcrs", [[0] * 32] * 25),
        ("quote.pcrs", [[0] * 31]),
        ("quote.pcrs", {}),
        ("quote.message", "00"),
        ("report", "00"),
        ("vcek", None),
        ("quote", None),
    ],
)
def test_evidence_of_azure_as_it_was_at_first_with_something_else(
    database: Database, path: str, value: object
) -> None:
    more, roots = supplied(Azure())
    made = party(database, {"it": exact(SNP)}, more, {"azure-snp": roots})

    def wrap(digest: bytes) -> Mapping[str, Any]:
        return policies.changed(path, value, azure("snp", 0, more.certificates[0])(digest))

    with pytest.raises((RequestError, RefusedError)):
        ask(made, Guest(tee="az-snp-vtpm"), wrap)
