"""
Verify the measurements of an NVIDIA GPU or switch.

`python verify_nvidia.py EVIDENCE POLICY CERTIFICATES [--at TIME] [--nonce HEX]`

EVIDENCE is request and answer of SPDM, as the driver gives them; CERTIFICATES the chain of the device,
PEM, and what NVIDIA says of it: OCSP responses, lists, manifests of driver and firmware. What was not
supplied is unchecked in the result, or refused where the policy requires it.
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
from attestation.files import read_endorsements, read_limited
from attestation.reference_files import load_policy


def main(arguments: list[str]) -> int:
    """Say what came out; 0 only where the evidence is affirmed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("evidence", type=Path)
    parser.add_argument("policy", type=Path, help="TOML, as attestation/examples/policy-nvidia.toml")
    parser.add_argument("endorsements", type=Path, nargs="+", help="the device's chain of certificates")
    parser.add_argument("--nonce", type=bytes.fromhex, help="the 32 bytes that you sent to the machine")
    parser.add_argument(
        "--at", type=datetime.fromisoformat, default=datetime.now(UTC), help="judge as of then"
    )
    options = parser.parse_intermixed_args(arguments)

    evidence = read_limited(options.evidence, "evidence")
    endorsements = read_endorsements(options.endorsements)
    policy = load_policy(options.policy)
    # Evidence answers one question: who asked knows the nonce.  The policy says whether it has to be there.
    binding = None if options.nonce is None else Shim(options.nonce, None, bytes(32))
    try:
        result = appraise(evidence, endorsements, policy, binding=binding, now=options.at)
    except AppraisalError as error:
        print(f"{error.result.verdict.value} (exit code {error.exit_code})")
        for mismatch in error.mismatches:
            print(f"  {mismatch}")
        return error.exit_code
    claims: Any = result.claims  # JSON, by kind: docs/attestation-result.schema.json
    print(f"{result.verdict.value}: {claims['reference']}")
    print(f"device: {claims['name']}, firmware {claims['device']['vbios_version']}")
    print(f"measurements: {len(claims['measurements'])}")
    print(f"unchecked: {', '.join(result.unchecked) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
