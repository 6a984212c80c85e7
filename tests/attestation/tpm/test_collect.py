"""Quotes, registers and indices of a real TPM in software, and what refusals of it become."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings, strategies as st

from attestation import kinds, policy_init
from attestation.appraise import appraise
from attestation.azure.collect import ATTESTATION_KEY
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError, CollectError, EvidenceFormatError, SignatureError
from attestation.policy import load
from attestation.tpm import collect, public_area, quote, signature, storage
from attestation.tpm.command import Tpm, TpmError
from tests.fakes import swtpm
from tests.fakes.swtpm import Software

DATA = hashlib.sha256(b"what the relying party sent").digest()
INDEX = 0x01500010


@pytest.fixture(scope="module")
def software(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Software]:
    with swtpm.running(tmp_path_factory.mktemp("tpm")) as started:
        yield started


def extend(software: Software, number: int) -> None:
    digest = struct.pack(">IH", 1, 0x000B) + hashlib.sha256(b"event").digest()
    swtpm.sent(software, 0x182, struct.pack(">I", number) + swtpm.PASSWORD + digest)


def complete(found: collect.Quoted) -> quote.Quote:
    signed = signature.parse_with_or_without_head(found.signature)
    return quote.complete(quote.parse(found.message), signed, dict(enumerate(found.registers)))


def test_quote_of_a_real_tpm_is_read_and_verified(software: Software) -> None:
    extend(software, 4)
    found = collect.quoted(software.tpm(), ATTESTATION_KEY, DATA)
    parsed = complete(found)
    key = public_area.parse(collect.public_area(software.tpm(), ATTESTATION_KEY)).key
    signature.check(parsed.signature, key, found.message)
    assert parsed.attest.extra_data == DATA
    assert sorted(parsed.pcrs) == list(range(24))
    assert parsed.pcrs[4] == found.registers[4] != bytes(32)
    assert found.registers[17] == b"\xff" * 32


def test_quote_over_some_registers_covers_those_alone(software: Software) -> None:
    found = collect.quoted(software.tpm(), ATTESTATION_KEY, DATA, (4, 11))
    assert sorted(complete(found).pcrs) == [4, 11]


def test_what_is_collected_is_evidence_of_a_tpm(software: Software) -> None:
    kind = kinds.KINDS["tpm"]
    collected = collect.evidence(software.tpm(), ATTESTATION_KEY, DATA)
    now = datetime(2025, 6, 1, tzinfo=UTC)

    def authenticated(data: bytes) -> object:
        return kind.authenticate(
            kind.parse(data),
            Endorsements(),
            kind.roots,
            now=now,
            skew=timedelta(0),
            crl_required=False,
            cache=None,
        )

    proven = authenticated(collected)
    assert kind.report_data(proven) == DATA
    parts = json.loads(collected)
    other = json.loads(collect.evidence(software.tpm(), ATTESTATION_KEY, bytes(32)))
    with pytest.raises(SignatureError):
        authenticated(json.dumps({**parts, "signature": other["signature"]}).encode())


def test_a_drafted_policy_accepts_what_was_collected_and_nothing_later(software: Software) -> None:
    now = datetime(2025, 6, 1, tzinfo=UTC)
    collected = collect.evidence(software.tpm(), ATTESTATION_KEY, DATA)
    text = policy_init.draft(collected, Endorsements(), "tpm", label="it", now=now)
    policy = load(text.replace('binding = "shim"', 'binding = "unchecked"'), "draft")
    appraise(collected, Endorsements(), policy, binding=None, now=now)
    extend(software, 11)
    later = collect.evidence(software.tpm(), ATTESTATION_KEY, DATA)
    with pytest.raises(AppraisalError) as caught:
        appraise(later, Endorsements(), policy, binding=None, now=now)
    assert [one.field for one in caught.value.mismatches] == ["pcrs.pcr11"]


def test_tools_of_others_accept_the_quote(software: Software, tmp_path: Path) -> None:
    found = collect.quoted(software.tpm(), ATTESTATION_KEY, DATA)
    key = public_area.parse(collect.public_area(software.tpm(), ATTESTATION_KEY)).key
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key").write_bytes(pem)
    (tmp_path / "quote").write_bytes(found.message)
    headed = struct.pack(">HHH", 0x14, 0x0B, len(found.signature)) + found.signature
    (tmp_path / "signature").write_bytes(headed)
    arguments = ("-u", "key", "-m", "quote", "-s", "signature", "-q", DATA.hex(), "-g", "sha256")
    assert DATA.hex() not in found.signature.hex()
    software.tool("tpm2_checkquote", *arguments, cwd=tmp_path)
    listed = software.tool("tpm2_pcrread", "sha256:4", cwd=tmp_path)
    assert found.registers[4].hex().upper() in listed


def test_index_is_made_written_and_read(software: Software, tmp_path: Path) -> None:
    tpm = software.tpm()
    assert storage.find(tpm, INDEX) is None
    data = bytes(range(256)) * 3
    storage.write(tpm, INDEX, data)
    index = storage.find(tpm, INDEX)
    assert index == storage.Index(INDEX, len(data))
    assert storage.read(tpm, index) == data
    storage.write(tpm, INDEX, b"short")
    assert storage.read(tpm, index) == b"short" + data[5:]
    software.tool("tpm2_nvread", "-C", "o", f"0x{INDEX:08x}", "-o", "found", cwd=tmp_path)
    assert (tmp_path / "found").read_bytes() == b"short" + data[5:]


def test_index_that_is_too_small_is_refused(software: Software) -> None:
    storage.write(software.tpm(), INDEX + 1, b"four")
    with pytest.raises(CollectError, match="4 bytes, want at least 5 bytes"):
        storage.write(software.tpm(), INDEX + 1, b"five!")


REFUSALS: dict[str, tuple[Callable[[Tpm], object], int, str]] = {
    "index that does not exist": (
        lambda tpm: storage.read(tpm, storage.Index(INDEX + 9, 8)),
        0x8B,
        "TPM2_NV_Read: found 0x28b",
    ),
    "beyond the end": (
        lambda tpm: storage.read(tpm, storage.Index(INDEX + 1, 5)),
        0x146,
        "TPM_RC_NV_RANGE",
    ),
    "key that does not exist": (
        lambda tpm: collect.public_area(tpm, 0x81000099),
        0x8B,
        "no such index or key",
    ),
    "quote by no key": (lambda tpm: collect.quoted(tpm, 0x81000099, DATA), 0x8B, "TPM2_Quote"),
    "key with another scheme": (lambda tpm: collect.quoted(tpm, swtpm.PSS_KEY, DATA), 0x92, "TPM_RC_SCHEME"),
    "command that it does not know": (lambda tpm: tpm.run("no command", 0x1FF, b""), 0x143, "COMMAND_CODE"),
    "too much data": (lambda tpm: collect.quoted(tpm, ATTESTATION_KEY, bytes(99)), 0x95, "TPM_RC_SIZE"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_of_the_tpm_is_named(software: Software, name: str) -> None:
    storage.write(software.tpm(), INDEX + 1, b"four")
    ask, code, text = REFUSALS[name]
    with pytest.raises(TpmError, match=text) as caught:
        ask(software.tpm())
    assert caught.value.code == code


def test_key_of_another_type_quotes_by_no_scheme_of_ours(software: Software) -> None:
    area = public_area.parse(collect.public_area(software.tpm(), swtpm.ECC_KEY))
    assert isinstance(area.key, ec.EllipticCurvePublicKey)
    with pytest.raises(TpmError):
        collect.evidence(software.tpm(), swtpm.ECC_KEY, DATA)


def test_register_that_is_extended_in_between_is_read_again(software: Software) -> None:
    pauses: list[float] = []

    def exchange(command: bytes) -> bytes:
        response = software.exchange(command)
        if struct.unpack_from(">I", command, 6)[0] == 0x158 and not pauses:
            extend(software, 9)
        return response

    found = collect.quoted(Tpm(exchange, pauses.append), ATTESTATION_KEY, DATA)
    assert complete(found).pcrs[9] != bytes(32)
    assert pauses == [0.5]


def test_registers_that_never_stop_changing_are_an_error(software: Software) -> None:
    def exchange(command: bytes) -> bytes:
        response = software.exchange(command)
        if struct.unpack_from(">I", command, 6)[0] == 0x158:
            extend(software, 9)
        return response

    pauses: list[float] = []
    with pytest.raises(CollectError, match=r"quote\.pcrDigest"):
        collect.quoted(Tpm(exchange, pauses.append), ATTESTATION_KEY, DATA)
    assert pauses == [0.5, 1, 2, 4]


# What a TPM would have to say for these, no TPM says when asked: responses by hand


def answering(*responses: bytes, pauses: list[float] | None = None) -> Tpm:
    left = list(responses)
    return Tpm(lambda _: left.pop(0), [].append if pauses is None else pauses.append)


def response(code: int = 0, body: bytes = b"", *, tag: int = 0x8001, size: int | None = None) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body) if size is None else size, code) + body


@pytest.mark.parametrize("code", [0x922, 0x908, 0x90A, 0x920, 0x923])
def test_busy_tpm_is_asked_again(code: int) -> None:
    pauses: list[float] = []
    tpm = answering(response(code), response(code), response(0, b"ok"), pauses=pauses)
    assert tpm.run("any", 1, b"").take(2, "all") == b"ok"
    assert pauses == [0.5, 1]


def test_tpm_that_stays_busy_is_an_error() -> None:
    pauses: list[float] = []
    with pytest.raises(TpmError, match="TPM_RC_RETRY: the TPM was busy"):
        answering(*[response(0x922)] * 5, pauses=pauses).run("any", 1, b"")
    assert len(pauses) == 4


@pytest.mark.parametrize("code", [0x921, 0x98E, 0x9A2, 0x149, 0x148, 0x14A, 0x101, 0x100])
def test_what_does_not_pass_is_an_error_at_once(code: int) -> None:
    with pytest.raises(TpmError, match=f"0x{code:x} .TPM_RC_"):
        answering(response(code)).run("any", 1, b"")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        response()[:-1],
        response(size=11),
        response(size=9) + b"x",
        response(tag=0x8002),
        response(tag=0x00C4),
        response(0x921, b"more"),
        response(0x921, tag=0x8002),
        response(body=bytes(5000)),
    ],
)
def test_what_is_no_response_is_malformed(bad: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        answering(bad).run("any", 1, b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        struct.pack(">I", 1) + bytes(5),
        struct.pack(">I", 0) + bytes(4),
        struct.pack(">I", 0) + bytes(6),
        struct.pack(">I", 0) + b"\0\1\0\0\0",
        struct.pack(">I", 0) + b"\0\0\1\0\1",
    ],
)
def test_authorization_that_was_not_asked_for_is_malformed(body: bytes) -> None:
    tpm = answering(response(body=body, tag=0x8002))
    with pytest.raises(EvidenceFormatError):
        tpm.authorized("any", 1, b"", handles=(1,))


def registers(selected: int, digests: list[bytes], *, bank: int = 0x0B, banks: int = 1) -> bytes:
    selection = struct.pack(">HB", bank, 3) + selected.to_bytes(3, "little")
    values = b"".join(struct.pack(">H", len(one)) + one for one in digests)
    return response(
        body=bytes(4)
        + struct.pack(">I", banks)
        + selection * banks
        + struct.pack(">I", len(digests))
        + values
    )


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (registers(0, []), CollectError),
        (registers(0, [], banks=0), CollectError),
        (registers(1, []), EvidenceFormatError),
        (registers(1, [bytes(32)] * 2), EvidenceFormatError),
        (registers(1, [bytes(20)]), EvidenceFormatError),
        (registers(1, [bytes(32)], bank=4), EvidenceFormatError),
        (registers(1, [bytes(32)], banks=2), EvidenceFormatError),
        (registers(1, [bytes(32)]) + b"x", EvidenceFormatError),
    ],
)
def test_registers_are_read_strictly(bad: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        collect.read_registers(answering(bad))


def test_register_that_comes_twice_is_malformed() -> None:
    one = registers(1, [bytes(32)])
    with pytest.raises(EvidenceFormatError, match="digests"):
        collect.read_registers(answering(one, one))


ASKED: list[Callable[[Tpm], object]] = [
    lambda tpm: storage.find(tpm, INDEX),
    lambda tpm: storage.read(tpm, storage.Index(INDEX, 9)),
    lambda tpm: storage.write(tpm, INDEX, b"data"),
    lambda tpm: collect.quoted(tpm, ATTESTATION_KEY, DATA),
    lambda tpm: collect.public_area(tpm, ATTESTATION_KEY),
    collect.read_registers,
]


@given(st.binary(max_size=80), st.sampled_from([0x8001, 0x8002]), st.sampled_from(ASKED))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_an_error_of_ours_or_an_answer(
    body: bytes, tag: int, ask: Callable[[Tpm], object]
) -> None:
    left = [response(body=body, tag=tag)] * 4

    def exchange(_: bytes) -> bytes:
        if not left:
            raise CollectError("TPM", "nothing more", "an answer")
        return left.pop()

    try:
        ask(Tpm(exchange, [].append))
    except (CollectError, EvidenceFormatError):
        return
    assert ask in ASKED
