"""
Which kinds of evidence are there, and which roots does each trust?

The table is what a policy's `tee` selects from.  A simulation has its own row with its own root, so that
it can be accepted only by name.  A kind is imported when it is asked for: who verifies one does not wait for
the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from attestation.kind import Kind

AnyKind: TypeAlias = Kind[Any, Any, Any, Any]


def _snp() -> AnyKind:
    from attestation.simulated.product import SIMULATED_PRODUCT
    from attestation.snp import kind, roots
    from attestation.snp.products import PRODUCTS

    # A report alone covers what was booted only where firmware measured the hashes of kernel, initrd and
    # command line.
    return kind.kind(roots.AMD, ("kernel-hashes",), (*PRODUCTS, SIMULATED_PRODUCT))


def _simulated() -> AnyKind:
    from attestation import endorsements
    from attestation.simulated import roots
    from attestation.simulated.chain import PEM
    from attestation.simulated.product import SIMULATED_PRODUCT
    from attestation.snp import kind
    from attestation.snp.products import PRODUCTS

    known = (*PRODUCTS, SIMULATED_PRODUCT)
    chain = endorsements.parse(PEM, "simulated chain")
    return kind.kind(roots.SIMULATED, ("simulated",), known, chain, simulated=True)


def _tdx() -> AnyKind:
    from attestation.intel import kind

    return kind.tdx()


def _sgx() -> AnyKind:
    from attestation.intel import kind

    return kind.sgx()


def _azure(hardware: str) -> AnyKind:
    from attestation.azure import kind

    return kind.kind(hardware, KINDS[hardware])


def _cca() -> AnyKind:
    from attestation.cca import kind

    return kind.kind()


def _nitro() -> AnyKind:
    from attestation.nitro import kind

    return kind.kind()


def _nvidia() -> AnyKind:
    from attestation.nvidia import kind

    return kind.kind()


def _tpm() -> AnyKind:
    from attestation.tpm import kind

    return kind.kind()


_ROWS: Mapping[str, Callable[[], AnyKind]] = {
    "snp": _snp,
    "tdx": _tdx,
    "sgx": _sgx,
    "azure-snp": lambda: _azure("snp"),
    "azure-tdx": lambda: _azure("tdx"),
    "cca": _cca,
    "nitro": _nitro,
    "nvidia": _nvidia,
    "tpm": _tpm,
    "simulated": _simulated,
}


class _Kinds(Mapping[str, AnyKind]):
    """The table: its names in the order of the rows, each kind made once."""

    def __init__(self) -> None:
        self._made: dict[str, AnyKind] = {}

    def __getitem__(self, tee: str) -> AnyKind:
        if tee not in self._made:
            self._made[tee] = _ROWS[tee]()
        return self._made[tee]

    def __iter__(self) -> Iterator[str]:
        return iter(_ROWS)

    def __len__(self) -> int:
        return len(_ROWS)


KINDS = _Kinds()
