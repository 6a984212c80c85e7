"""
Verify a quote of Intel TDX.

`python verify_tdx.py EVIDENCE POLICY COLLATERAL [--at TIME] [--nonce HEX]`

COLLATERAL is what Intel signs about the platform: TCB info, identities, revocation lists; JSON, as QvE
and PCCS give it. With `--event-log FILE` the firmware's log (CCEL) has to lead to the signed registers.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attestation.appraise import appraise
from attestation.binding import Shim
from attestation.errors import AppraisalError
from attestation.files import read_endorsements, read_event_log, read_limited
from attestation.reference_files import load_policy


def main(arguments: list[str]) -> int:
    """Say what came out; 0 only where the evidence is affirmed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("evidence", type=Path)
    parser.add_argument("policy", type=Path, help="TOML, as attestation/examples/policy-tdx.toml")
    parser.add_argument(
        "endorsements", type=Path, nargs="*", help="collateral, certificates and lists, or a folder of them"
    )
    parser.add_argument("--event-log", type=Path, help="what the firmware measured")
    parser.add_argument("--nonce", type=bytes.fromhex, help="the 32 bytes that you sent to the machine")
    parser.add_argument(
        "--at", type=datetime.fromisoformat, default=datetime.now(UTC), help="judge as of then"
    )
    options = parser.parse_intermixed_args(arguments)

    evidence = read_limited(options.evidence, "evidence")
    endorsements = read_endorsements(options.endorsements)
    log = None if options.event_log is None else read_event_log(options.event_log)
    policy = load_policy(options.policy)
    # Evidence answers one question: who asked knows the nonce.  The policy says whether it has to be there.
    binding = None if options.nonce is None else Shim(options.nonce, None, bytes(32))
    try:
        result = appraise(evidence, endorsements, policy, binding=binding, now=options.at, event_log=log)
    except AppraisalError as error:
        print(f"{error.result.verdict.value} (exit code {error.exit_code})")
        for mismatch in error.mismatches:
            print(f"  {mismatch}")
        return error.exit_code
    claims: Any = result.claims  # JSON, by kind: docs/attestation-result.schema.json
    print(f"{result.verdict.value}: {claims['reference']}")
    tcb = claims["tcb"]  # None where the policy asks for no status and none was supplied
    print(f"TCB: {'unknown, no collateral' if tcb is None else tcb['status']}")
    print(f"kernel, and initrd with command line: {claims['report']['rtmr1']} {claims['report']['rtmr2']}")
    print(f"unchecked: {', '.join(result.unchecked) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
