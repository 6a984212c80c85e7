"""
How do verdicts and times on real quotes compare with those of dcap-qvl from PyPI?

Cold: nothing is cached.  Warm: what certificates, lists and collateral say is remembered by their digests, and
which signatures were checked; the quote's own are checked each time.  Run as a program it prints the table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from attestation import endorsements
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import AuthenticationError
from attestation.intel import evidence, roots
from attestation.intel.authenticate import authenticate
from tests import vectors
from tests.vectors import Case


def measure(n: int) -> dict[str, dict[str, Any]]:
    """Return for each real quote with collateral what was expected, both verdicts, and medians in milliseconds."""
    return {
        case.id: _compared(case, n)
        for case in vectors.load("dcap")
        if "collateral" in case.files and case.time is not None
    }


def _compared(case: Case, n: int) -> dict[str, Any]:
    quote, supplied, cache = case.read("quote"), endorsements.parse(case.read("collateral")), Cache()
    row: dict[str, Any] = {
        "expected": case.expected.split(" [")[0].split(";")[0],
        "found": _verdict(quote, supplied, case),
        "cold_ms": median_ms(n, lambda: _verdict(quote, supplied, case)),
        "warm_ms": median_ms(n, lambda: _verdict(quote, supplied, case, cache)),
    }
    peer = _peer(case)
    if peer is not None:
        row |= {"dcap-qvl": peer(), "dcap_qvl_ms": median_ms(n, peer)}
    return row


def _verdict(quote: bytes, supplied: Endorsements, case: Case, cache: Cache | None = None) -> str:
    assert case.time is not None
    try:
        proven = authenticate(evidence.parse(quote), supplied, roots.INTEL, now=case.time, cache=cache)
    except AuthenticationError as error:
        return error.verdict.value
    return "" if proven.tcb is None else proven.tcb.status.value


def _peer(case: Case) -> Callable[[], str] | None:
    """Return what asks dcap-qvl, None where it is not installed."""
    try:
        import dcap_qvl  # noqa: PLC0415  # only where it is
    except ImportError:
        return None
    quote = case.read("quote")
    collateral = dcap_qvl.QuoteCollateralV3.from_json(case.read("collateral").decode())
    assert case.time is not None
    now = int(case.time.timestamp())

    def ask() -> str:
        try:
            return str(dcap_qvl.verify(quote, collateral, now).status)
        except ValueError as error:
            return str(error).rsplit(": ", 1)[-1]

    return ask


def median_ms(n: int, run: Callable[[], object]) -> float:
    """Return the median time of `n` runs, after one that does not count."""
    run()
    times = []
    for _ in range(n):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return round(median(times) * 1000, 3)


if __name__ == "__main__":
    print(json.dumps(measure(100), indent=1))
