"""
Which realms are accepted?

One attribute per thing that the tokens can say.  Every one must be given in the policy, or spelled
"unchecked"; but for the initial measurement, and the keys of platforms: without them nothing could be
affirmed.
"""

from __future__ import annotations

from dataclasses import dataclass

from attestation.policy_file import Checked, Section
from attestation.policy_values import ReferenceValue, hexadecimal, nonempty, one_of, reference_values


@dataclass(frozen=True, slots=True)
class CcaPolicy:
    """What the tokens must say; `attestation/examples/policy-cca.toml` explains each field."""

    initial: tuple[ReferenceValue, ...]
    extensible: tuple[Checked[frozenset[bytes]], ...]
    personalization: Checked[frozenset[bytes]]
    keys: frozenset[bytes]
    lifecycle: Checked[str]
    implementation: Checked[frozenset[bytes]]
    instance: Checked[frozenset[bytes]]
    components: Checked[frozenset[bytes]]


def read(top: Section) -> CcaPolicy:
    """Return the rules for a realm; problems are left in `top`, which the caller closes."""
    realm, platform = top.section("realm"), top.section("platform")
    nothing: frozenset[bytes] = frozenset()
    digests = nonempty(hexadecimal(32, 48, 64))
    policy = CcaPolicy(
        initial=realm.need("rim", reference_values(32, 48, 64), ()),
        extensible=tuple(realm.take(f"rem{number}", digests) for number in range(4)),
        personalization=realm.take("rpv", nonempty(hexadecimal(64))),
        keys=platform.need("cpak", nonempty(hexadecimal(32)), nothing),
        lifecycle=platform.take("lifecycle", one_of("secured")),
        implementation=platform.take("implementation_id", nonempty(hexadecimal(32))),
        instance=platform.take("instance_id", nonempty(hexadecimal(33))),
        components=platform.take("software", digests),
    )
    realm.close()
    platform.close()
    return policy
