"""
How the certificates in attestation/simulated/chain.py were made.

Run as a program it makes a new chain and prints its PEM text and the digest to pin.  The keys of root and
intermediate are thrown away: the chain is made once, and nothing else can ever be issued under it.
"""

from __future__ import annotations

import base64
import textwrap
from dataclasses import replace
from datetime import UTC, datetime

from attestation.simulated.product import HWID, SIMULATED_PRODUCT, TCB, signing_key
from tests.fakes import amd

START = datetime(2000, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def chain() -> tuple[list[bytes], str]:
    """Return leaf, intermediate and root, DER, and the digest of the root's key, hexadecimal."""
    authority = amd.Amd(product=SIMULATED_PRODUCT, label="simulated")
    leaf = authority.leaf(amd.Chip(product=SIMULATED_PRODUCT, tcb=TCB))
    extensions = {amd.OIDS["productName"]: amd.der_text(SIMULATED_PRODUCT.name), amd.OIDS["HWID"]: HWID}
    leaf = replace(leaf, key=signing_key(), extensions={**leaf.extensions, **extensions})
    makers = (
        replace(maker, start=START, end=END, organization="SIMULATED, not hardware")
        for maker in (leaf, authority.ask, authority.ark)
    )
    return [maker.der() for maker in makers], next(iter(authority.roots.products))


def main() -> None:
    certificates, pin = chain()
    for der in certificates:
        body = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
        print(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----")
    print(pin)


if __name__ == "__main__":
    main()
