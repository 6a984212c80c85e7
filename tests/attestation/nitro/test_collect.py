"""/dev/nsm, played by a driver of ours around a fake hypervisor that signs for real."""

from __future__ import annotations

import errno

import cbor2
import pytest
from hypothesis import given, strategies as st

from attestation.endorsements import Endorsements
from attestation.errors import CollectError, EvidenceFormatError, KernelError
from attestation.nitro import collect, evidence
from attestation.nitro.authenticate import authenticate
from attestation.nitro.collect import DEVICE
from tests.fakes import aws
from tests.fakes.guest import FakeGuest, Nsm

DATA = bytes(range(64))


def hypervisor(request: bytes) -> bytes:
    """Answers what the module would: src/api/mod.rs of the NSM API."""
    asked = cbor2.loads(request)["Attestation"]
    assert set(asked) == {"user_data", "nonce", "public_key"}
    return cbor2.dumps({"Attestation": {"document": aws.Nitro(members=asked).document()}})


def ask(device: Nsm, **values: bytes) -> bytes:
    return collect.document(FakeGuest(ioctls={DEVICE: device}), DATA, **values)


def test_document_holds_the_data_and_is_authentic() -> None:
    found = evidence.parse(ask(Nsm(hypervisor), nonce=b"nonce", public_key=b"key"))
    assert (found.document.user_data, found.document.nonce, found.document.public_key) == (
        DATA,
        b"nonce",
        b"key",
    )
    assert authenticate(found, Endorsements(), aws.roots(), now=aws.NOW).document == found.document


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ETIMEDOUT, "the module did not answer in two minutes"),
        (errno.ENODATA, "the module answered something else"),
        (errno.EIO, "Input/output error"),
        (errno.EACCES, "the device may not be opened"),
    ],
)
def test_refusal_of_the_kernel_is_told(number: int, text: str) -> None:
    with pytest.raises(KernelError, match=f"/dev/nsm: found {errno.errorcode[number]}: {text}"):
        ask(Nsm(hypervisor, refusal=number))


def test_request_that_is_too_long_is_told() -> None:
    with pytest.raises(KernelError, match="EMSGSIZE: the request is too long"):
        ask(Nsm(hypervisor), public_key=bytes(5000))


@pytest.mark.parametrize("code", ["InvalidArgument", "InternalError", "BufferTooSmall"])
def test_error_of_the_module_is_told(code: str) -> None:
    with pytest.raises(CollectError, match=f"response: found {code}, want no error"):
        ask(Nsm(lambda _: cbor2.dumps({"Error": code})))


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        "Attestation",
        {"Attestation": None},
        {"Attestation": {}},
        {"Attestation": {"document": b""}},
        {"Attestation": {"document": "text"}},
        {"GetRandom": {"random": b"x"}},
    ],
)
def test_another_answer_is_refused(value: object) -> None:
    with pytest.raises(CollectError, match="an attestation document"):
        ask(Nsm(lambda _: cbor2.dumps(value)))


@pytest.mark.parametrize("data", [b"\xff", b"\xa1", b"\xc0\x60", cbor2.dumps({}) + b"\0"])
def test_answer_that_is_no_cbor_is_malformed(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError, match="NSM response"):
        ask(Nsm(lambda _: data))


@pytest.mark.parametrize(("data", "longer"), [(b"", 0), (bytes(0x3000), 1), (b"x", 1 << 63)])
def test_impossible_length_is_refused(data: bytes, longer: int) -> None:
    with pytest.raises(CollectError, match="1 to 12288 bytes"):
        ask(Nsm(lambda _: data, longer=longer))


@given(st.binary(max_size=64))
def test_any_answer_is_an_error_of_ours_or_a_document(data: bytes) -> None:
    try:
        assert ask(Nsm(lambda _: data))
    except (CollectError, EvidenceFormatError):
        return
