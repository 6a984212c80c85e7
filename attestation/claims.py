"""What is said of certificates and lists in claims, the same for every kind of evidence."""

from __future__ import annotations

from collections.abc import Mapping

from attestation.certificate import Certificate, RevocationList
from shim.canonical import JsonValue


def certificate(found: Certificate) -> Mapping[str, JsonValue]:
    """Return what names a certificate and its key, and how long it is good for."""
    return {
        "name": found.common_name,
        "serial": hex(found.serial),
        "not_before": found.not_before.isoformat(),
        "not_after": found.not_after.isoformat(),
        "sha256": found.sha256.hex(),
        "key_sha256": found.key_sha256.hex(),
    }


def revocation_list(found: RevocationList) -> Mapping[str, JsonValue]:
    """Return how long a list is good for."""
    return {"this_update": found.this_update.isoformat(), "next_update": found.next_update.isoformat()}
