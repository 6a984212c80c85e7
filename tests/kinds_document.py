"""
docs/kinds.md, from the code: which kinds there are, what is checked of each, and what a policy can ask.

The checks are those of a trail of fake evidence with real keys, as `shim verify --explain` prints them.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

from attestation import kinds, policy_example
from attestation.endorsements import Endorsements
from attestation.policy import leaves
from attestation.policy_file import locate, open_file
from attestation.simulated import collect
from attestation.trail import Trail
from tests.attestation.cca import test_cca as cca
from tests.fakes import amd, aws, azure, endorsement, intel, nvidia, tpm

HEAD = """# Kinds of evidence, and what is checked

Written by `make golden` from the code; a test holds that it is current. The checks are those that left a line in the
trail of made-up evidence with real keys, in their order, as `shim verify --explain` prints them.

"""
PEERS = """
## Beside others

What they do with the same real evidence. `make bench` measures dcap-qvl 0.7 and secretvm-verify 0.12, which PyPI has, in
the same run; the others were measured once, on the same bytes.

| | shim | dcap-qvl 0.7 | secretvm-verify 0.12 | go-sev-guest | go-tdx-guest | hf/nitrite |
|---|---|---|---|---|---|---|
| SEV-SNP, Milan and Genoa | yes | - | yes, without a policy | yes; panics on a valid report of version 5 (Siena) | - | - |
| SEV-SNP, Turin | yes | - | refused | refused | - | - |
| SEV-SNP, signed by a VLEK | yes | - | refused, though valid | yes | - | - |
| TDX, SGX | quotes 3, 4, 5 | quotes 3, 4, 5 | by dcap-qvl | - | no policy for quotes 5; two accepted whose platform is out of date | - |
| Azure's vTPM, Arm CCA, TPM 2.0, event logs | yes | - | - | - | - | - |
| Nitro Enclaves | yes | - | - | - | - | yes; accepts debug documents |
| NVIDIA GPUs and switches, from files | yes | - | - | - | - | - |
"""
_NAMES = re.compile(r"^(certificate|validity of|root|revocation list of|state of) .*")


def text() -> str:
    """Return the document."""
    rows = "".join(_row(tee) for tee in kinds.KINDS)
    return (
        HEAD
        + "| kind | whose root | `boot` | revocation | event log explains | keys of a policy |\n"
        + "|---|---|---|---|---|---|\n"
        + rows
        + "\n## Checks, in their order\n\n"
        + "".join(
            f"- **{tee}**: {'; '.join(_checks(tee))}; then each key of the policy.\n" for tee in kinds.KINDS
        )
        + "\n## Keys of policies\n\n"
        + "".join(_keys(tee) for tee in kinds.KINDS)
        + PEERS
    )


def _row(tee: str) -> str:
    kind, example = kinds.KINDS[tee], policy_example.text(tee)
    keys = len(dict(leaves(open_file(example, tee).values or {})))
    roots = (
        f"{kind.roots.name}, {len(kind.roots.keys)} pinned"
        if kind.roots.keys
        else f"keys{' or roots' if kind.criteria().named else ''} that the policy names"
    )
    log = "yes" if kind.registers else "no"
    lists = {"nvidia": "OCSP, lists", "cca": "none exists"}.get(tee, "lists")
    return f"| {tee} | {roots} | {', '.join(f'`{one}`' for one in kind.boots)} | {lists} | {log} | {keys} |\n"


def _keys(tee: str) -> str:
    example = policy_example.text(tee)
    comments = policy_example.comments(example)
    found: dict[str, list[str]] = {}
    written = example.splitlines()
    for key, line in locate(example).items():
        table, _, name = key.rpartition(".")
        if key in comments and not written[line - 1].startswith("["):
            found.setdefault(table, []).append(f"`{name}`")
    lines = "".join(f"  - {table or 'general'}: {', '.join(names)}\n" for table, names in found.items())
    return f"- **{tee}** (`shim policy example {tee}` explains each)\n{lines}"


def _checks(tee: str) -> list[str]:
    """Return the names of the checks, those about single certificates once."""
    kind = kinds.KINDS[tee]
    evidence, endorsements, roots, now = _fake(tee)
    trail = Trail()
    kind.authenticate(
        kind.parse(evidence),
        endorsements | kind.endorsements,
        roots,
        now=now,
        skew=timedelta(0),
        crl_required=False,
        cache=None,
        trail=trail,
    )
    return list(dict.fromkeys(_named(one.field) for one in trail.checks))


def _named(field: str) -> str:
    match = _NAMES.match(field)
    words = {
        "certificate": "each certificate is signed by its issuer",
        "validity of": "each certificate is good at the time",
        "root": "the root key is pinned",
        "revocation list of": "nothing of the chain is on a list",
        "state of": "the state of each certificate",
    }
    return words[match[1]] if match else field


def _fake(tee: str) -> tuple[bytes, Endorsements, Any, datetime]:
    match tee:
        case "snp":
            chip, authority = amd.Chip(), amd.Amd()
            supplied = authority.endorsements(chip, lists=[authority.crl()])
            return chip.report(5), supplied, authority.roots, amd.NOW
        case "tdx":
            fake = intel.Intel()
            return fake.quote(), fake.endorsements(), fake.roots(), intel.NOW
        case "sgx":
            info = {name: one for name, one in intel.TCB_INFO.items() if not name.startswith("tdx")}
            fake = intel.Intel(
                tee="SGX", version=3, report=intel.enclave(bytes(64)), tcb_info={**info, "id": "SGX"},
                qe_identity={**intel.QE_IDENTITY, "id": "QE"},
            )  # fmt: skip
            return fake.quote(), fake.endorsements(), fake.roots(), intel.NOW
        case "azure-snp":
            vm = azure.Azure()
            authority = amd.Amd()
            return (
                vm.evidence(),
                authority.endorsements(vm.chip, lists=[authority.crl()]),
                authority.roots,
                amd.NOW,
            )
        case "azure-tdx":
            vm = azure.Azure(tee="tdx")
            return vm.evidence(), vm.machine().endorsements(), vm.machine().roots(), intel.NOW
        case "cca":
            return cca.Token().evidence(), cca.KEYS, cca.NONE, cca.NOW
        case "nitro":
            return aws.Nitro().document(), Endorsements((), aws.ALL_LISTS), aws.roots(), aws.NOW
        case "nvidia":
            return nvidia.Device().evidence(), nvidia.Device().endorsements(), nvidia.roots(), aws.NOW
        case "tpm":
            names = (("ak", "issuer"), ("issuer", "root"), ("root", "root"))
            chain = tuple(tpm.certificate(*one) for one in names)
            lists = (tpm.revocation_list("issuer"), tpm.revocation_list("root"))
            endorsed = tpm.Tpm(certificates=chain).parts() | endorsement.Endorsed().parts()
            maker = Endorsements((tpm.certificate("maker", "maker"),), lists)
            return json.dumps(endorsed).encode(), maker, kinds.KINDS["tpm"].roots, aws.NOW
        case _:
            return collect.collect(bytes(64))[0], Endorsements(), kinds.KINDS[tee].roots, amd.NOW
