"""What does a policy say that accepts just these tokens?"""

from __future__ import annotations

from attestation.cca.authenticate import Authenticated
from attestation.observed import only, reference
from shim.canonical import JsonValue


def observed(authenticated: Authenticated, label: str) -> dict[str, JsonValue]:
    """
    Return the values of a policy by their dotted keys; `label` names the measurement.

    The key is the one that was supplied to prove them: Arm has no root.
    """
    realm, platform = authenticated.evidence.realm, authenticated.evidence.platform
    software: JsonValue = sorted({one.measurement.hex() for one in platform.components})
    return {
        "realm.rim": reference(realm.initial, label),
        **{f"realm.rem{number}": only(value) for number, value in enumerate(realm.extensible)},
        "realm.rpv": only(realm.personalization),
        "platform.cpak": only(authenticated.key_sha256),
        "platform.lifecycle": "secured",
        "platform.implementation_id": only(platform.implementation),
        "platform.instance_id": only(platform.instance),
        "platform.software": software or "unchecked",
    }
