"""The real quotes reach their expected verdicts, and no damaged copy of one is accepted."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from attestation import endorsements
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import (
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    TcbError,
    ValidityError,
)
from attestation.intel import evidence, roots
from attestation.intel.authenticate import Authenticated, authenticate
from tests import vectors
from tests.vectors import Case

REFUSED: dict[str, type[AuthenticationError]] = {
    "invalid: tcbInfo expired": ValidityError,
    "invalid: no TCB level matches": TcbError,
    "invalid: root is not the trusted Intel root": NotAuthenticError,
    "invalid against the real Intel root": NotAuthenticError,
}
KINDS = ("dcap", "info", "azure")
LONG_AGO = datetime(2026, 5, 1, tzinfo=UTC)


def supplied(case: Case) -> Endorsements:
    return endorsements.parse(case.read("collateral")) if "collateral" in case.files else Endorsements()


def judge(quote: bytes, case: Case, cache: Cache | None = None) -> Authenticated:
    return authenticate(
        evidence.parse(quote), supplied(case), roots.INTEL, now=case.time or LONG_AGO, cache=cache
    )


@pytest.mark.parametrize("case", vectors.cases(*KINDS, role="quote"))
def test_real_quotes_reach_their_verdicts(case: Case) -> None:
    refused = next((error for text, error in REFUSED.items() if case.expected.startswith(text)), None)
    if refused is not None:
        with pytest.raises(refused):
            judge(case.read("quote"), case)
        return
    proven = judge(case.read("quote"), case)
    stated = re.match(r"valid: (\w+)(?: \[([^\]]*)\])?", case.expected)
    if stated is None:
        assert "no collateral" in case.expected
        assert (proven.tcb, proven.revocation_lists) == (None, ())
    else:
        assert proven.tcb is not None
        assert proven.tcb.status.value == stated[1]
        assert list(proven.tcb.advisories) == [one for one in (stated[2] or "").split(",") if one]
        assert len(proven.revocation_lists) == 2
    assert proven.evidence.report.debug == ("DEBUG" in case.expected)


ACCEPTED = [
    case for case in vectors.load("dcap") if case.expected.startswith("valid") and "collateral" in case.files
]


@pytest.mark.parametrize(
    "case",
    ACCEPTED or [pytest.param(None, marks=pytest.mark.skip(reason=vectors.ABSENT))],
    ids=lambda case: case.id if case else "absent",
)
def test_one_flipped_bit_anywhere_in_what_is_signed_is_noticed(case: Case) -> None:
    quote, cache = case.read("quote"), Cache()
    judge(quote, case, cache)
    for place in range(len(evidence.parse(quote).signed_bytes)):
        damaged = bytearray(quote)
        damaged[place] ^= 1 << place % 8
        with pytest.raises((NotAuthenticError, EvidenceFormatError)):
            judge(bytes(damaged), case, cache)


@pytest.mark.parametrize(
    "case",
    ACCEPTED[:2] or [pytest.param(None, marks=pytest.mark.skip(reason=vectors.ABSENT))],
    ids=lambda case: case.id if case else "absent",
)
def test_one_flipped_bit_in_what_vouches_for_the_key_is_noticed(case: Case) -> None:
    """Up to the certificates, which come from elsewhere as well."""
    quote, cache = case.read("quote"), Cache()
    for place in range(len(evidence.parse(quote).signed_bytes), quote.index(b"-----BEGIN")):
        damaged = bytearray(quote)
        damaged[place] ^= 1 << place % 8
        with pytest.raises((NotAuthenticError, EvidenceFormatError, MissingEndorsementError)):
            judge(bytes(damaged), case, cache)


@pytest.mark.parametrize("case", vectors.cases(*KINDS, role="quote"))
def test_every_proper_prefix_is_malformed(case: Case) -> None:
    quote = case.read("quote")
    signed = len(evidence.parse(quote).signed_bytes)
    end = signed + 4 + int.from_bytes(quote[signed : signed + 4], "little")
    for size in range(end):
        with pytest.raises(EvidenceFormatError):
            evidence.parse(quote[:size])
    evidence.parse(quote[:end] + b"\0" * 64)


@pytest.mark.parametrize("case", vectors.cases("dcap", role="collateral"))
@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
def test_collateral_that_was_changed_is_refused(case: Case, name: str) -> None:
    whole = json.loads(case.read("collateral"))
    text = whole[name]
    for place in range(0, len(text), 13):
        changed = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        damaged = json.dumps({**whole, name: changed}).encode()
        with pytest.raises(AuthenticationError):
            authenticate(
                evidence.parse(case.read("quote")),
                endorsements.parse(damaged),
                roots.INTEL,
                now=case.time or LONG_AGO,
            )
