"""What do a realm and its platform claim, in words?  A JSON value for people, tokens and logs."""

from __future__ import annotations

from attestation.cca.authenticate import Authenticated
from attestation.cca.evidence import Evidence
from shim.canonical import JsonValue


def of_evidence(evidence: Evidence) -> dict[str, JsonValue]:
    """Return what was said, authentic or not."""
    realm, platform = evidence.realm, evidence.platform
    return {
        "realm": {
            "challenge": realm.challenge.hex(),
            "rim": realm.initial.hex(),
            **{f"rem{number}": value.hex() for number, value in enumerate(realm.extensible)},
            "rpv": realm.personalization.hex(),
        },
        "platform": {
            "implementation_id": platform.implementation.hex(),
            "instance_id": platform.instance.hex(),
            "lifecycle": f"0x{platform.lifecycle:04x}",
            "software": [
                {"name": one.name, "measurement": one.measurement.hex(), "signer": one.signer.hex()}
                for one in platform.components
            ],
        },
    }


def of_authenticated(authenticated: Authenticated) -> dict[str, JsonValue]:
    """Return what was said, and under which of the supplied keys."""
    return {**of_evidence(authenticated.evidence), "cpak_sha256": authenticated.key_sha256.hex()}
