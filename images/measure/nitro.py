"""Which registers will the attestation document of a Nitro enclave have?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from images.measure.register import extended

_ALGORITHM = "sha384"


def registers(parts: Iterable[tuple[bytes, bool]]) -> dict[int, bytes]:
    """
    Return PCR0, PCR1 and PCR2 by their numbers, 48 bytes each.

    PCR0 is all of it, PCR1 what boots, PCR2 the rest: the ramdisks behind the first.

    Args:
        parts: Kernel, command line and ramdisks in the order of the file, each with whether it boots.

    Source:
        aws-nitro-enclaves-image-format, README.md, "EIF Measurements", of 2024-06-21.
    """
    hashes = {number: hashlib.new(_ALGORITHM) for number in range(3)}
    for data, boots in parts:
        hashes[0].update(data)
        hashes[1 if boots else 2].update(data)
    return {number: extended((content.digest(),), _ALGORITHM) for number, content in hashes.items()}


def signer(certificate: bytes) -> bytes:
    """
    Return PCR8 of a signed image, 48 bytes, from the certificate that it is signed with, in DER.

    Source:
        aws-nitro-enclaves-image-format, README.md, "PCR8", of 2024-06-21.
    """
    return extended((hashlib.new(_ALGORITHM, certificate).digest(),), _ALGORITHM)
