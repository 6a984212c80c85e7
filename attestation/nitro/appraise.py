"""
Do we accept what a genuine Nitro hypervisor says?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from attestation.nitro.authenticate import Authenticated
from attestation.nitro.policy import NitroPolicy
from attestation.nitro.report import SOURCE, Document
from attestation.policy_file import UNCHECKED
from attestation.result import Mismatch
from attestation.rules import label
from attestation.verdict import Verdict


def appraise(authenticated: Authenticated, policy: NitroPolicy) -> tuple[Mismatch, ...]:
    """
    Return everything in which the document differs from what `policy` accepts.

    Not checked:
        user_data: `attestation.appraise` compares it, as the report_data of every kind, or nonce where the
        policy says so.  public_key.

    Source:
        AWS Nitro Enclaves, NSM API, docs/attestation_process.md; AWS Nitro Enclaves User Guide, "Where to get
        an enclave's measurements".
    """
    document = authenticated.document
    return (
        *_debug(document, policy),
        *_image(document, policy),
        *_registers(document, policy),
        *_module(document, policy),
        *_age(authenticated.age, policy),
    )


def reference(authenticated: Authenticated, policy: NitroPolicy) -> str | None:
    """Return the label of the reference value that register 0 is, or None when it is none of them."""
    return label(authenticated.document.pcrs.get(0), policy.pcr0)


def _debug(document: Document, policy: NitroPolicy) -> Iterator[Mismatch]:
    if policy.debug is not UNCHECKED and document.debug:
        yield Mismatch("document.debug", "registers 0 to 2 all zero", "an enclave for production", SOURCE)


def _image(document: Document, policy: NitroPolicy) -> Iterator[Mismatch]:
    found = document.pcrs.get(0)
    if found is None or all(value.digest != found for value in policy.pcr0):
        want = ", ".join(f"{value.digest.hex()} ({value.label})" for value in policy.pcr0)
        yield Mismatch("document.pcr0", _shown(found), want, SOURCE)


def _registers(document: Document, policy: NitroPolicy) -> Iterator[Mismatch]:
    for number, accepted in policy.pcrs.items():
        found = document.pcrs.get(number)
        if accepted is not UNCHECKED and found not in accepted:
            want = " or ".join(sorted(value.hex() for value in accepted))
            yield Mismatch(f"document.pcr{number}", _shown(found), want, SOURCE)


def _module(document: Document, policy: NitroPolicy) -> Iterator[Mismatch]:
    if policy.module_id is not UNCHECKED and document.module_id not in policy.module_id:
        want = " or ".join(sorted(policy.module_id))
        yield Mismatch("document.module_id", document.module_id, want, SOURCE)


def _age(found: timedelta, policy: NitroPolicy) -> Iterator[Mismatch]:
    if policy.max_age is not UNCHECKED and found > policy.max_age:
        seconds, most = found.total_seconds(), policy.max_age.total_seconds()
        want = f"at most {most:.0f} seconds"
        yield Mismatch("document.max_age", f"{seconds:.0f} seconds", want, SOURCE, Verdict.EXPIRED)


def _shown(register: bytes | None) -> str:
    return "no such register" if register is None else register.hex()
