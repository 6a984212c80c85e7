"""
Do we accept what a realm and its platform say?

One line per rule; every rule adds its mismatches to the list, none ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attestation.cca.authenticate import Authenticated
from attestation.cca.evidence import SOURCE, Component
from attestation.cca.policy import CcaPolicy
from attestation.policy_file import UNCHECKED
from attestation.result import Mismatch
from attestation.rules import among, label, measurement
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
        *measurement("realm.rim", realm.initial, policy.initial, SOURCE),
        *(
            mismatch
            for number, (found, accepted) in enumerate(zip(realm.extensible, policy.extensible, strict=True))
            for mismatch in among(f"realm.rem{number}", found, accepted, SOURCE)
        ),
        *among("realm.rpv", realm.personalization, policy.personalization, SOURCE),
        *_lifecycle(platform.lifecycle, policy),
        *among("platform.implementation_id", platform.implementation, policy.implementation, SOURCE),
        *among("platform.instance_id", platform.instance, policy.instance, SOURCE),
        *_software(platform.components, policy),
    )


def reference(authenticated: Authenticated, policy: CcaPolicy) -> str | None:
    """Return the label of the reference value that the initial measurement is, or None."""
    return label(authenticated.evidence.realm.initial, policy.initial)


def _key(authenticated: Authenticated, policy: CcaPolicy) -> Iterator[Mismatch]:
    """Until the policy names the key, nobody vouches for anything."""
    if authenticated.key_sha256 not in policy.keys:
        want = " or ".join(sorted(key.hex() for key in policy.keys))
        found = authenticated.key_sha256.hex()
        yield Mismatch("platform.cpak", found, want, SOURCE, Verdict.NOT_AUTHENTIC)


def _software(components: Sequence[Component], policy: CcaPolicy) -> Iterator[Mismatch]:
    """Every component has to have one of the measurements; a platform without any says nothing."""
    if policy.components is not UNCHECKED and not components:
        yield Mismatch("platform.software", "no component", "some, each with its measurement", SOURCE)
    for one in components:
        yield from among(f"platform.software.{one.name}", one.measurement, policy.components, SOURCE)


def _lifecycle(found: int, policy: CcaPolicy) -> Iterator[Mismatch]:
    if policy.lifecycle is not UNCHECKED and found not in _SECURED:
        yield Mismatch("platform.lifecycle", f"0x{found:04x}", "0x3000 to 0x30ff: secured", SOURCE)
