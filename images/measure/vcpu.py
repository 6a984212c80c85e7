"""Which CPUID signature does a processor of a VM have?"""

from __future__ import annotations

from collections.abc import Mapping

from images.measure.errors import LaunchParameterError

# Family, model, stepping, and the newest version; those of QEMU 10.1, target/i386/cpu.c, builtin_x86_defs.
_MODELS = (
    ("EPYC", (23, 1, 2), 5),
    ("EPYC-Rome", (23, 49, 0), 5),
    ("EPYC-Milan", (25, 1, 1), 3),
    ("EPYC-Genoa", (25, 17, 0), 2),
    ("EPYC-Turin", (26, 0, 0), 1),
)


def signature(family: int, model: int, stepping: int) -> int:
    """
    Return what CPUID function 1 gives in EAX for a family and model, both combined with their extensions.

    Raises:
        LaunchParameterError: numbers that CPUID cannot say.

    Source:
        AMD publication 25481, revision 2.34, "CPUID Fn0000_0001_EAX Family, Model, Stepping Identifiers".
    """
    for name, value, most in (
        ("family", family, 0xF + 0xFF),
        ("model", model, 0xFF),
        ("stepping", stepping, 0xF),
    ):
        if not 0 <= value <= most:
            raise LaunchParameterError(f"vCPU {name}", str(value), f"0 to {most}")
    extended = max(family - 0xF, 0)
    base = family - extended
    return extended << 20 | model >> 4 << 16 | base << 8 | (model & 0xF) << 4 | stepping


def _signatures() -> dict[str, int]:
    found = {}
    for name, numbers, newest in _MODELS:
        for version in ("", *(f"-v{number}" for number in range(1, newest + 1))):
            found[name + version] = signature(*numbers)
        if name == "EPYC":
            found["EPYC-IBPB"] = signature(*numbers)  # an alias of EPYC-v2
    return found


SIGNATURES: Mapping[str, int] = _signatures()


def signature_of(name: str) -> int:
    """
    Return the signature of a processor type by QEMU's name for it.

    Raises:
        LaunchParameterError: no type of SEV-SNP hosts that is known; the error lists those that are.
    """
    found = SIGNATURES.get(name)
    if found is None:
        raise LaunchParameterError("vCPU type", f'"{name}"', f"one of {', '.join(SIGNATURES)}")
    return found
