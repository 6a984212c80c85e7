"""
Which kinds of evidence are there, and which roots does each trust?

The table is what a policy's `tee` selects from.  A simulation has its own row with its own root, so that it
can be accepted only by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attestation import endorsements
from attestation.azure import kind as azure
from attestation.cca import kind as cca
from attestation.intel import kind as intel
from attestation.kind import Kind
from attestation.nitro import kind as nitro
from attestation.nvidia import kind as nvidia
from attestation.simulated import roots as simulated
from attestation.simulated.chain import PEM
from attestation.simulated.product import SIMULATED_PRODUCT
from attestation.snp import kind as snp, roots as snp_roots
from attestation.snp.products import PRODUCTS
from attestation.tpm import kind as tpm

_KNOWN_PRODUCTS = (*PRODUCTS, SIMULATED_PRODUCT)

_SNP = snp.kind(
    # A report alone covers what was booted only where firmware measured the hashes of kernel, initrd and
    # command line.
    snp_roots.AMD,
    ("kernel-hashes",),
    _KNOWN_PRODUCTS,
)
_TDX = intel.tdx()

KINDS: Mapping[str, Kind[Any, Any, Any, Any]] = {
    "snp": _SNP,
    "tdx": _TDX,
    "sgx": intel.sgx(),
    "azure-snp": azure.kind("snp", _SNP),
    "azure-tdx": azure.kind("tdx", _TDX),
    "cca": cca.kind(),
    "nitro": nitro.kind(),
    "nvidia": nvidia.kind(),
    "tpm": tpm.kind(),
    "simulated": snp.kind(
        simulated.SIMULATED,
        ("simulated",),
        _KNOWN_PRODUCTS,
        endorsements.parse(PEM, "simulated chain"),
        simulated=True,
    ),
}
