"""
Do we accept what a realm and its platform say?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attestation.cca.authenticate import Authenticated
from attestation.cca.evidence import SOURCE
from attestation.cca.policy import CcaPolicy
from attestation.policy_file import UNCHECKED, Checked
from attestation.result import Mismatch
from attestation.verdict import Verdict

_SECURED = range(0x3000, 0x3100)


def appraise(authenticated: Authenticated, policy: CcaPolicy) -> tuple[Mismatch, ...]:
    """
    Return everything in which the tokens differ from what `policy` accepts.

    Not checked:
        The realm's challenge: `attestation.appraise` compares it, as the report_data of every kind.

    Source:
        Realm Management Monitor Specification, DEN0137, 1.0, section A7.2.
    """
    realm, platform = authenticated.evidence.realm, authenticated.evidence.platform
    return (
        *_key(authenticated, policy),
        *_initial(realm.initial, policy),
        *(
            mismatch
            for number, (found, accepted) in enumerate(zip(realm.extensible, policy.extensible, strict=True))
            for mismatch in _among(f"realm.rem{number}", found, accepted)
        ),
        *_among("realm.rpv", realm.personalization, policy.personalization),
        *_lifecycle(platform.lifecycle, policy),
        *_among("platform.implementation_id", platform.implementation, policy.implementation),
        *_among("platform.instance_id", platform.instance, policy.instance),
        *(
            mismatch
            for one in platform.components
            for mismatch in _among(f"platform.software.{one.name}", one.measurement, policy.components)
        ),
    )


def reference(authenticated: Authenticated, policy: CcaPolicy) -> str | None:
    """Return the label of the reference value that the initial measurement is, or None."""
    found = authenticated.evidence.realm.initial
    return next((value.label for value in policy.initial if value.digest == found), None)


def _key(authenticated: Authenticated, policy: CcaPolicy) -> Iterator[Mismatch]:
    """Until the policy names the key, nobody vouches for anything."""
    if authenticated.key_sha256 not in policy.keys:
        want = " or ".join(sorted(key.hex() for key in policy.keys))
        found = authenticated.key_sha256.hex()
        yield Mismatch("platform.cpak", found, want, SOURCE, Verdict.NOT_AUTHENTIC)


def _initial(found: bytes, policy: CcaPolicy) -> Iterator[Mismatch]:
    if all(value.digest != found for value in policy.initial):
        want = ", ".join(f"{value.digest.hex()} ({value.label})" for value in policy.initial)
        yield Mismatch("realm.rim", found.hex(), want, SOURCE)


def _lifecycle(found: int, policy: CcaPolicy) -> Iterator[Mismatch]:
    if policy.lifecycle is not UNCHECKED and found not in _SECURED:
        yield Mismatch("platform.lifecycle", f"0x{found:04x}", "0x3000 to 0x30ff: secured", SOURCE)


def _among(field: str, found: bytes, accepted: Checked[frozenset[bytes]]) -> Iterator[Mismatch]:
    if accepted is not UNCHECKED and found not in accepted:
        want = " or ".join(sorted(value.hex() for value in accepted))
        yield Mismatch(field, found.hex(), want, SOURCE)
