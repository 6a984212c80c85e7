"""
How long does one SNP verification take?

Cold: nothing is cached, every certificate is parsed and every signature checked.  Warm: the same cache as
before, so that what is left is the report's own signature.  Run as a program it prints the numbers.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from attestation.appraise import appraise
from attestation.binding import Shim, report_data
from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.policy import load
from attestation.simulated import collect
from tests.fakes import policies
from tests.fakes.amd import NOW, Amd, Chip

POLICY = Path(__file__).resolve().parents[2] / "attestation" / "examples" / "policy-simulated.toml"


def measure(n: int) -> dict[str, float]:
    """
    Return times in milliseconds, medians of `n` runs, and verifications per second with a warm cache.

    A chain with RSA-2048 keys of our own stands in for AMD's RSA-4096: about 0.1 ms less per certificate.
    Where the real evidence is present, `real_cold_ms` and `real_warm_ms` are measured on it.
    """
    binding = Shim(bytes(32), None, bytes(32))
    data = report_data(bytes(32), None, bytes(32))
    chip, authority = Chip(), Amd()
    supplied = authority.endorsements(chip, lists=[authority.crl()])
    rules = policies.policy(policies.changed("binding", "shim"))
    report = chip.report(5, REPORT_DATA=data)
    cache = Cache()

    def verify(cache: Cache | None) -> None:
        appraise(report, supplied, rules, binding=binding, now=NOW, roots=authority.roots, cache=cache)

    simulated, simulated_rules = collect.collect(data)[0], load(POLICY.read_text(), POLICY.name)
    times = {
        "cold_ms": _median(n, lambda: verify(None)),
        "warm_ms": _median(n, lambda: verify(cache)),
        "simulated_cold_ms": _median(
            n, lambda: appraise(simulated, Endorsements(), simulated_rules, binding=binding, now=NOW)
        ),
        **_real(n),
    }
    times["warm_per_second"] = 1000 / times["warm_ms"]
    return times


def _real(n: int) -> dict[str, float]:
    from attestation import endorsements  # noqa: PLC0415  # used only where the real evidence is
    from attestation.snp import evidence, roots  # noqa: PLC0415
    from attestation.snp.authenticate import authenticate  # noqa: PLC0415
    from tests import vectors  # noqa: PLC0415

    case = next((case for case in vectors.load("snp") if case.expected == "valid"), None)
    if case is None or case.time is None:
        return {}
    now, report = case.time, case.read("report")
    supplied = endorsements.union(endorsements.parse(case.read(role)) for role in ("vek", "chain"))
    cache = Cache()

    def verify(cache: Cache | None) -> None:
        authenticate(evidence.parse(report), supplied, roots.AMD, now=now, cache=cache)

    return {
        "real_cold_ms": _median(n, lambda: verify(None)),
        "real_warm_ms": _median(n, lambda: verify(cache)),
    }


def _median(n: int, run: Callable[[], object]) -> float:
    run()
    times = []
    for _ in range(n):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    print(json.dumps({name: round(value, 3) for name, value in measure(200).items()}, indent=1))
