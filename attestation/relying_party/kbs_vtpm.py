"""
How do guests on Azure wrap the paravisor's report and the vTPM's quote?

In three shapes, as their attester grew: bytes as arrays of numbers at first; since version 1, which the
evidence names, as hexadecimal digits and as base64url.  What comes out is the evidence of our kinds.

Source:
    confidential-containers/guest-components, attestation-agent/attester/src/az_snp_vtpm and az_tdx_vtpm,
    `Evidence`; trustee, deps/verifier/src/az_snp_vtpm/compat.rs and az_tdx_vtpm/compat.rs.
"""

from __future__ import annotations

import base64
import binascii

from attestation.json_document import JsonObject
from attestation.relying_party.errors import RequestError
from attestation.relying_party.octets import octets
from shim.canonical import JsonValue, canonical_bytes

_VERSIONS = 2  # that of SEV-SNP; what is new in it, the user data of the paravisor, is in its report
_REGISTER = 32
_REGISTERS = 24


def snp(wrapped: JsonObject) -> tuple[bytes, bytes]:
    """
    Return the evidence, and the certificate of the processor, DER or PEM, that came with it.

    Raises:
        RequestError, EvidenceFormatError: something else.
    """
    if "version" not in wrapped:
        evidence = _evidence({"hcl_report": octets(wrapped, "report").hex()}, _numbers(wrapped.part("quote")))
        return evidence, wrapped.text("vcek").encode()
    _check_version(wrapped, _VERSIONS)
    evidence = _evidence({"hcl_report": _base64url(wrapped, "hcl_report").hex()}, _digits(wrapped))
    return evidence, _base64url(wrapped, "vcek")


def tdx(wrapped: JsonObject) -> bytes:
    """
    Return the evidence.

    Raises:
        RequestError, EvidenceFormatError: something else.
    """
    if "version" not in wrapped:
        parts = {name: octets(wrapped, name).hex() for name in ("hcl_report", "td_quote")}
        return _evidence(parts, _numbers(wrapped.part("tpm_quote")))
    _check_version(wrapped, 1)
    return _evidence(
        {name: _base64url(wrapped, name).hex() for name in ("hcl_report", "td_quote")}, _digits(wrapped)
    )


def _check_version(wrapped: JsonObject, most: int) -> None:
    if not wrapped.number("version", most):
        raise RequestError(f"{wrapped.where}.version", "0", f"1 to {most}")


def _evidence(parts: dict[str, str], quote: dict[str, JsonValue]) -> bytes:
    return canonical_bytes({**parts, "tpm_quote": quote})


def _numbers(quote: JsonObject) -> dict[str, JsonValue]:
    registers = quote.members.get("pcrs")
    if not isinstance(registers, list) or len(registers) > _REGISTERS:
        raise quote.wrong("pcrs", registers, f"an array of at most {_REGISTERS} registers")
    named = JsonObject({str(number): one for number, one in enumerate(registers)}, f"{quote.where}.pcrs")
    return {
        "message": octets(quote, "message").hex(),
        "signature": octets(quote, "signature").hex(),
        "pcrs": [octets(named, number, _REGISTER).hex() for number in named.members],
    }


def _digits(wrapped: JsonObject) -> dict[str, JsonValue]:
    quote = wrapped.part("tpm_quote")
    return {
        "message": quote.octets("message").hex(),
        "signature": quote.octets("signature").hex(),
        "pcrs": list(quote.texts("pcrs")),
    }


def _base64url(wrapped: JsonObject, name: str) -> bytes:
    text = wrapped.text(name)
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        want = "base64url with padding"
        raise RequestError(f"{wrapped.where}.{name}", repr(text)[:40], want, "RFC 4648, section 5") from error
