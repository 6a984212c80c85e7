"""Which endorsements are meant: those that evidence needs, or those that options name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from attestation import files, kinds, needed
from attestation.errors import AuthenticationError, EvidenceFormatError
from attestation.intel.pcs import CAS
from attestation.snp.kds import tcb_of
from attestation.snp.products import PRODUCTS, Product
from attestation.snp.report import SigningKey
from attestation.wanted import Wanted
from shim.cli.arguments import hexadecimal

# The kinds whose evidence needs something that vendors hand out.
KINDS = ("snp", "tdx", "sgx", "azure-snp", "azure-tdx")
_LEVEL = re.compile(r"(\w+)=(\d{1,3})", re.ASCII)


def of_arguments(  # noqa: PLR0913  # one parameter per option
    what: tuple[str, ...],
    *,
    product: str | None,
    chip_id: str | None,
    tcb: str | None,
    vlek: bool,
    fmspc: str | None,
    ca: str | None,
    early: bool,
) -> tuple[Wanted, ...]:
    """
    Return what arguments and options mean, each once.

    Raises:
        EvidenceFormatError: evidence that cannot be read, or that does not say enough.
        click.UsageError: options that mean nothing here, or too few.
    """
    line = None if product is None else _product(product)
    if what == ("snp",):
        _refuse({"--fmspc": fmspc, "--ca": ca, "--early": early}, "snp")
        return _of_product(line, chip_id, tcb, vlek=vlek)
    if what in {("tdx",), ("sgx",)}:
        _refuse({"--product": product, "--chip-id": chip_id, "--tcb": tcb, "--vlek": vlek}, what[0])
        if fmspc is None:
            raise click.UsageError(f"{what[0]} needs --fmspc HEX")
        cas, family = CAS if ca is None else (ca,), hexadecimal(6)(fmspc)
        return _each_once(
            one
            for soon in (False, True)[: 1 + early]
            for one in needed.of_platform(what[0].upper(), family, cas, early=soon)
        )
    named = {"--chip-id": chip_id, "--tcb": tcb, "--vlek": vlek, "--fmspc": fmspc, "--ca": ca}
    _refuse(named, "EVIDENCE")
    return _each_once(one for path in what for one in _of_file(Path(path), line, early=early))


def _refuse(options: Mapping[str, object], kind: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise click.UsageError(f"{', '.join(given)}: means nothing for {kind}")


def _each_once(wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
    return tuple({one.url: one for one in wanted}.values())


def _product(name: str) -> Product:
    for one in PRODUCTS:
        if name.lower() in {one.name.lower(), *(other.lower() for other in one.product_names)}:
            return one
    raise click.BadParameter(f"found {name!r}, want {', '.join(one.name for one in PRODUCTS)}")


def _of_product(
    product: Product | None, chip_id: str | None, tcb: str | None, *, vlek: bool
) -> tuple[Wanted, ...]:
    if product is None:
        raise click.UsageError("snp needs --product NAME")
    if chip_id is None and tcb is None:
        return needed.of_product(product, SigningKey.VLEK if vlek else SigningKey.VCEK)
    if chip_id is None or tcb is None or vlek:
        raise click.UsageError("a VCEK is named by --chip-id and --tcb together, and a VLEK by neither")
    return needed.of_chip(product, _hwid(product, chip_id), _tcb(product, tcb))


def _hwid(product: Product, text: str) -> bytes:
    """Return the bytes of a CHIP_ID that count; the others of its 64 are zeros."""
    size = product.hwid_size if len(text) == 2 * product.hwid_size else 64
    chip = hexadecimal(size)(text)
    if any(chip[product.hwid_size :]) or not any(chip):
        want = f"{product.hwid_size} bytes that are not all zero, as {product.name} has them"
        raise click.BadParameter(f"--chip-id: found {text}, want {want}")
    return chip[: product.hwid_size]


def _tcb(product: Product, text: str) -> bytes:
    if "=" not in text:
        return hexadecimal(8)(text)
    matches = [_LEVEL.fullmatch(part.strip()) for part in text.split(",")]
    levels = {match[1]: int(match[2]) for match in matches if match is not None}
    if len(levels) != len(matches):
        raise click.BadParameter(f"--tcb: found {text!r}, want NAME=NUMBER,... each once")
    try:
        return tcb_of(product, levels)
    except EvidenceFormatError as error:
        raise click.BadParameter(f"--tcb: found {error.found}, want {error.want}") from error


def _of_file(path: Path, product: Product | None, *, early: bool) -> tuple[Wanted, ...]:
    """Return what the evidence in a file needs."""
    if not path.exists():
        raise click.UsageError(f"{path}: found no file, want evidence, or one of snp, tdx, sgx")
    evidence = _parsed(files.read_evidence(path), str(path))
    products = needed.VERSION_2 if product is None else (product,)
    wanted = needed.of_evidence(evidence, products)
    if needed.is_ambiguous(wanted):
        raise click.UsageError(f"{path}: a report of version 2 names no product: want --product NAME")
    if not wanted:
        raise click.UsageError(f"{path}: a processor that is not known: nothing is handed out for it")
    return (*wanted, *needed.of_evidence(evidence, products, early=True)) if early else wanted


def _parsed(data: bytes, where: str) -> object:
    """Return evidence of whichever kind it is; what it needs is no matter of trust."""
    for name in KINDS:
        with contextlib.suppress(AuthenticationError):
            evidence: object = kinds.KINDS[name].parse(data)
            return evidence
    raise EvidenceFormatError(where, "", "nothing that can be read", f"evidence of {', '.join(KINDS)}")
