"""The real evidence reaches its expected verdict, and no damaged copy of it is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from attestation import endorsements
from attestation.azure import evidence
from attestation.azure.authenticate import Authenticated, authenticate
from attestation.cache import Cache
from attestation.errors import AuthenticationError, EvidenceFormatError
from attestation.intel.roots import INTEL
from attestation.snp.roots import AMD
from tests import vectors
from tests.vectors import Case


def parts(case: Case) -> dict[str, Any]:
    found = {"hcl_report": case.read("hcl").hex(), "tpm_quote": json.loads(case.read("tpm_quote"))}
    return {**found, **({"td_quote": case.read("quote").hex()} if "quote" in case.files else {})}


def judge(case: Case, changed: dict[str, Any] | None = None, cache: Cache | None = None) -> Authenticated:
    assert case.time is not None
    supplied = endorsements.union(
        endorsements.parse(case.read(role)) for role in ("vek", "chain") if role in case.files
    )
    data = json.dumps(changed or parts(case)).encode()
    roots = INTEL if "quote" in case.files else AMD
    return authenticate(evidence.parse(data), supplied, roots, now=case.time, cache=cache)


@pytest.mark.parametrize("case", vectors.cases("azure"))
def test_real_evidence_reaches_its_verdict(case: Case) -> None:
    assert case.expected.startswith("valid")
    proven = judge(case)
    assert sorted(proven.evidence.quote.pcrs) == list(range(24))
    assert proven.evidence.hcl.configuration.members["secure-boot"] is True
    assert len(proven.evidence.hcl.user_data or b"") == 64


@pytest.mark.parametrize("case", vectors.cases("azure"))
@pytest.mark.parametrize("part", ["message", "signature", "pcrs"])
def test_one_flipped_bit_in_the_quote_is_noticed(case: Case, part: str) -> None:
    whole, cache = parts(case), Cache()
    text = "".join(whole["tpm_quote"]["pcrs"]) if part == "pcrs" else whole["tpm_quote"][part]
    raw = bytes.fromhex(text)
    for place in range(len(raw)):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << place % 8
        value: object = damaged.hex()
        if part == "pcrs":
            value = [damaged[start : start + 32].hex() for start in range(0, len(damaged), 32)]
        with pytest.raises(AuthenticationError):
            judge(case, {**whole, "tpm_quote": {**whole["tpm_quote"], part: value}}, cache)


@pytest.mark.parametrize("case", vectors.cases("azure"))
def test_one_flipped_bit_in_the_paravisor_s_data_is_noticed(case: Case) -> None:
    raw, cache = case.read("hcl"), Cache()
    begin = 0x4D4
    end = begin + int.from_bytes(raw[begin - 4 : begin], "little")
    for place in range(begin, end, 3):
        damaged = bytearray(raw)
        damaged[place] ^= 1 << place % 7
        with pytest.raises(AuthenticationError):
            judge(case, {**parts(case), "hcl_report": damaged.hex()}, cache)


@pytest.mark.parametrize("case", vectors.cases("azure", role="quote"))
def test_one_flipped_bit_in_what_the_domain_s_report_says_is_noticed(case: Case) -> None:
    raw, cache = case.read("hcl"), Cache()
    for place in (*range(0x20 + 128, 0x20 + 192), *range(0x20 + 512, 0x20 + 912)):
        damaged = bytearray(raw)
        damaged[place] ^= 1
        with pytest.raises(AuthenticationError):
            judge(case, {**parts(case), "hcl_report": damaged.hex()}, cache)


@pytest.mark.parametrize("case", vectors.cases("azure"))
def test_prefixes_of_the_parts_are_malformed(case: Case) -> None:
    whole = parts(case)
    hcl, message = bytes.fromhex(whole["hcl_report"]), bytes.fromhex(whole["tpm_quote"]["message"])
    end = 0x4D4 + int.from_bytes(hcl[0x4D0:0x4D4], "little")
    for size in range(0, end, 5):
        with pytest.raises(EvidenceFormatError):
            judge(case, {**whole, "hcl_report": hcl[:size].hex()})
    for size in range(len(message)):
        quote = {**whole["tpm_quote"], "message": message[:size].hex()}
        with pytest.raises(EvidenceFormatError):
            judge(case, {**whole, "tpm_quote": quote})
