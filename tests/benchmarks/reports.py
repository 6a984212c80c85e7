"""
How do verdicts and times on real SEV-SNP reports compare with those of secretvm-verify from PyPI?

It fetches certificates; here it finds them in its cache, where they are put before.  There is no real
revocation list among the evidence, so neither side looks at one: an empty file stands for it, and the peer's
two checks of it are left out of its verdict.  It judges by the clock, ours by the case's time.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from attestation import endorsements
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import AuthenticationError
from attestation.snp import evidence, roots
from attestation.snp.authenticate import authenticate
from tests import vectors
from tests.benchmarks.quotes import median_ms
from tests.vectors import Case

_OF_LISTS = {"crl_signature_valid", "crl_check_passed"}


def measure(n: int) -> dict[str, dict[str, Any]]:
    """Return for each real report what was expected, both verdicts, and medians in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SECRETVM_VERIFY_CACHE_DIR"] = folder
        return {case.id: _compared(case, n) for case in vectors.load("snp") if case.time is not None}


def _compared(case: Case, n: int) -> dict[str, Any]:
    report, cache = case.read("report"), Cache()
    supplied = endorsements.union(
        endorsements.parse(case.read(role)) for role in ("vek", "chain") if role in case.files
    )
    row: dict[str, Any] = {
        "expected": case.expected,
        "found": _verdict(report, supplied, case),
        "cold_ms": median_ms(n, lambda: _verdict(report, supplied, case)),
        "warm_ms": median_ms(n, lambda: _verdict(report, supplied, case, cache)),
    }
    peer = _peer(case)
    if peer is not None:
        row |= {"secretvm-verify": peer(), "secretvm_verify_ms": median_ms(n, peer)}
    return row


def _verdict(report: bytes, supplied: Endorsements, case: Case, cache: Cache | None = None) -> str:
    assert case.time is not None
    try:
        authenticate(evidence.parse(report), supplied, roots.AMD, now=case.time, cache=cache)
    except AuthenticationError as error:
        return error.verdict.value
    return "authentic"


def _peer(case: Case) -> Callable[[], str] | None:
    """Return what asks secretvm-verify; None where it is not installed."""
    try:
        from secretvm.verify import _kds_cache, amd  # noqa: PLC0415  # only where it is
    except ImportError:
        return None
    raw = case.read("report")
    parsed = amd._amd_parse_report(raw)
    chain = case.read("chain").decode()
    product = "Genoa" if "genoa" in case.files["chain"].name else "Milan"
    data = case.read("vek")
    with contextlib.suppress(ValueError):
        data = x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)
    key = amd._vcek_cache_key(product, parsed["chip_id"], parsed["reported_tcb"])
    for category, name, payload in (
        ("vcek", key, data),
        ("cert_chain", product, chain.encode()),
        ("crl", product, b""),
    ):
        _kds_cache.put(category, name, payload, 3600)
    text = base64.b64encode(raw).decode()

    def ask() -> str:
        checks = amd.check_sev_cpu_attestation(text, product).checks
        failed = sorted(name for name, held in checks.items() if not held and name not in _OF_LISTS)
        return "authentic" if not failed else f"fails {', '.join(failed)}"

    return ask


if __name__ == "__main__":
    print(json.dumps(measure(100), indent=1))
