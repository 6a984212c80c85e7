"""
Which kinds of evidence are there, and which roots does each trust?

The table is what a policy's `tee` selects from.  A simulation has its own row with its own root, so that it
can be accepted only by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from attestation import endorsements
from attestation.endorsements import Endorsements
from attestation.simulated import roots as simulated
from attestation.simulated.chain import PEM
from attestation.snp import roots as snp
from attestation.snp.roots import Roots


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A kind of evidence.

    Attributes:
        roots: The pinned root keys.
        boots: How software can get into this kind's measurement, so that appraisal of this evidence alone
            covers kernel, initrd and command line.
        endorsements: Certificates that are the same for all evidence of the kind, and so stand in the source.
        simulated: True when it proves nothing about any hardware.
    """

    roots: Roots
    boots: tuple[str, ...]
    endorsements: Endorsements = field(default_factory=Endorsements)
    simulated: bool = False


KINDS: Mapping[str, Kind] = {
    # A report alone covers what was booted only where firmware measured the hashes of kernel, initrd and
    # command line.  With boot = "vtpm" a vTPM's quote would have to come with it, which is another kind.
    "snp": Kind(snp.AMD, ("kernel-hashes",)),
    "simulated": Kind(
        simulated.SIMULATED, ("simulated",), endorsements.parse(PEM, "simulated chain"), simulated=True
    ),
}
