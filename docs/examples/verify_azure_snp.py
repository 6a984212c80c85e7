"""
Verify an Azure confidential VM on AMD SEV-SNP.

`python verify_azure_snp.py EVIDENCE POLICY VCEK CHAIN [--at TIME] [--nonce HEX]`

EVIDENCE is a folder with `hcl_report.bin`, `tpm_quote.json`, or one JSON file with their contents. The
hardware vouches for the paravisor's data, this for the key of the vTPM, the key for the registers: a
policy says which of them it knows.
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
from attestation.files import read_endorsements, read_evidence
from attestation.reference_files import load_policy


def main(arguments: list[str]) -> int:
    """Say what came out; 0 only where the evidence is affirmed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("evidence", type=Path, help="a folder, or one JSON file")
    parser.add_argument("policy", type=Path, help="TOML, as attestation/examples/policy-azure-snp.toml")
    parser.add_argument(
        "endorsements",
        type=Path,
        nargs="*",
        help="certificates and revocation lists of the chip, or a folder of them",
    )
    parser.add_argument("--nonce", type=bytes.fromhex, help="the 32 bytes that you sent to the machine")
    parser.add_argument(
        "--at", type=datetime.fromisoformat, default=datetime.now(UTC), help="judge as of then"
    )
    options = parser.parse_intermixed_args(arguments)

    evidence = read_evidence(options.evidence)
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
    print(f"chip: {claims['hardware']['product']} {claims['hardware']['chip_id']}")
    print(f"VM: {claims['vm']['id']}, secure boot {'on' if claims['vm']['secure_boot'] else 'off'}")
    print(f"boot program: {claims['vtpm']['pcr4']}")
    print(f"unchecked: {', '.join(result.unchecked) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
