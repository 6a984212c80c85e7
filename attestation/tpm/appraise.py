"""
Do we accept what a TPM says?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attestation import bits
from attestation.policy_file import UNCHECKED, Checked
from attestation.result import Mismatch
from attestation.rules import among, state
from attestation.tpm import registers
from attestation.tpm.authenticate import CHAIN, Authenticated
from attestation.tpm.credential import Target
from attestation.tpm.endorsement import SOFTWARE_MODELS, SOURCE as MAKER
from attestation.tpm.policy import TpmPolicy
from attestation.tpm.public_area import ATTRIBUTES, SOURCE as KEY_SOURCE
from attestation.tpm.quote import SOURCE
from attestation.verdict import Verdict


def appraise(authenticated: Authenticated, policy: TpmPolicy) -> tuple[Mismatch, ...]:
    """
    Return everything in which the quote differs from what `policy` accepts.

    Not checked:
        extraData: `attestation.appraise` compares it, as the report_data of every kind.

    Source:
        TCG TPM 2.0 Library, part 2, revision 1.59, section 10.12.12, "TPMS_ATTEST"; 10.11.1,
        "TPMS_CLOCK_INFO".
    """
    attest = authenticated.evidence.quote.attest
    return (
        *_key(authenticated, policy),
        *_root(authenticated, policy),
        *_maker(authenticated, policy),
        *registers.appraise(authenticated.evidence.quote, policy.pcrs),
        *among(
            "tpm.firmware_version",
            attest.firmware_version.to_bytes(8, "big"),
            policy.firmware_version,
            SOURCE,
        ),
        *_clock(attest.clock, policy),
        *_safe(attest.safe, policy),
        *_count("tpm.resets", attest.resets, policy.resets),
        *_count("tpm.restarts", attest.restarts, policy.restarts),
    )


def _key(authenticated: Authenticated, policy: TpmPolicy) -> Iterator[Mismatch]:
    """Until somebody vouches for the key, nobody vouches for anything; so too for the root."""
    names = {authenticated.evidence.key.name, authenticated.key_sha256}
    if policy.keys is not UNCHECKED and not names & policy.keys:
        found = f"name {authenticated.evidence.key.name.hex()}, sha256 {authenticated.key_sha256.hex()}"
        want = " or ".join(sorted(value.hex() for value in policy.keys))
        yield Mismatch("ak.key", found, want, KEY_SOURCE, Verdict.NOT_AUTHENTIC)


def _root(authenticated: Authenticated, policy: TpmPolicy) -> Iterator[Mismatch]:
    if policy.roots is UNCHECKED:
        return
    want = " or ".join(sorted(value.hex() for value in policy.roots))
    if not authenticated.chain:
        yield Mismatch("ak.root", "no certificate of the key", want, CHAIN, Verdict.CANNOT_TELL)
    elif authenticated.chain[-1].key_sha256 not in policy.roots:
        found = authenticated.chain[-1].key_sha256.hex()
        yield Mismatch("ak.root", found, want, CHAIN, Verdict.NOT_AUTHENTIC)


def _maker(authenticated: Authenticated, policy: TpmPolicy) -> Iterator[Mismatch]:
    """Who a TPM in software is told apart by is its root; its certificate says so too, if it is honest."""
    of_hardware = policy.makers is not UNCHECKED
    field, accepted = (
        ("ek.root", policy.makers) if of_hardware else ("ek.software_root", policy.software_makers)
    )
    if accepted is UNCHECKED:
        return
    want = " or ".join(sorted(value.hex() for value in accepted))
    endorsed = authenticated.endorsement
    if endorsed is None:
        yield Mismatch(field, "no endorsement key", want, MAKER, Verdict.CANNOT_TELL)
        return
    if endorsed.chain[-1].key_sha256 not in accepted:
        found = endorsed.chain[-1].key_sha256.hex()
        yield Mismatch(field, found, want, MAKER, Verdict.NOT_AUTHENTIC)
    if of_hardware and endorsed.model in SOFTWARE_MODELS:
        want = "a TPM of hardware: roots of others stand under software_root"
        yield Mismatch("ek.model", endorsed.model, want, MAKER, Verdict.NOT_AUTHENTIC)
    if policy.activation is not UNCHECKED:
        found_bits = bits.flags(authenticated.evidence.key.attributes, ATTRIBUTES)
        for name in ("fixed_parent", "sensitive_data_origin"):
            if not found_bits[name]:
                yield Mismatch(f"ak.{name}", "clear", "set", KEY_SOURCE, Verdict.NOT_AUTHENTIC)


def target(authenticated: Authenticated, policy: TpmPolicy) -> Target | None:
    """Return for whom a credential has to be; None if the policy asks for none, or nobody could open it."""
    endorsed = authenticated.endorsement
    if policy.activation is UNCHECKED or endorsed is None:
        return None
    return Target(endorsed.key, authenticated.evidence.key.name)


def _clock(found: int, policy: TpmPolicy) -> Iterator[Mismatch]:
    if policy.clock is not UNCHECKED and found < policy.clock:
        yield Mismatch("tpm.clock", f"{found} ms", f"at least {policy.clock} ms", SOURCE)


def _safe(found: bool, policy: TpmPolicy) -> Iterator[Mismatch]:  # noqa: FBT001  # the one fact
    if policy.clock_safe is not UNCHECKED and found is not policy.clock_safe:
        yield Mismatch("tpm.clock_safe", state(found), state(policy.clock_safe), SOURCE)


def _count(field: str, found: int, accepted: Checked[frozenset[int]]) -> Iterator[Mismatch]:
    if accepted is not UNCHECKED and found not in accepted:
        yield Mismatch(field, str(found), " or ".join(map(str, sorted(accepted))), SOURCE)
