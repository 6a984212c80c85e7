"""
How far can the machine be trusted, in the words that verifiers have in common?

A trustworthiness vector of AR4SI, derived from a result and from nothing else.  What was not checked is 0, no
claim; a refusal leaves its mark on the aspect that it is about.  docs/attestation-results.md has the table
with its reasons.

Source:
    draft-ietf-rats-ar4si-10, section 2.3, "Trustworthiness Claims".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase

from attestation.aspects import ASPECTS, Aspects, Path
from attestation.result import AttestationResult, Mismatch
from attestation.verdict import Verdict
from shim.canonical import JsonValue

# Section 2.3.4, "Specific Claims".
NO_CLAIM, UNKNOWN_ELEMENTS, CRYPTOGRAPHY_FAILED = 0, 1, 99
RECOGNISED_INSTANCE, UNTRUSTWORTHY_INSTANCE, UNRECOGNISED_INSTANCE = 2, 96, 97
APPROVED_CONFIGURATION, VULNERABLE_CONFIGURATION, UNSUPPORTABLE_CONFIGURATION = 2, 32, 96
APPROVED_BOOT, UNRECOGNISED_EXECUTABLES = 3, 33
GENUINE_HARDWARE, VULNERABLE_HARDWARE, CONTRAINDICATED_HARDWARE, UNRECOGNISED_HARDWARE = 2, 32, 96, 97
ENCRYPTED_MEMORY, VISIBLE_MEMORY = 2, 96

_UP_TO_DATE, _REVOKED, _HOLD = "UpToDate", "Revoked", "certificateHold"
_CONFIGURATION_NEEDED = (
    "ConfigurationNeeded",
    "OutOfDateConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
)
# Not about what the machine is, but about whether this evidence answers now: it affirms nothing.
_ANSWERS_NOTHING = frozenset({Verdict.WRONG_BINDING, Verdict.EXPIRED})


class Tier(enum.Enum):
    """
    What a value of the vector comes to, most trusted first.

    Source:
        draft-ietf-rats-ar4si-10, section 2.3.2, "Enumeration Encoding".
    """

    NONE = "none"
    AFFIRMING = "affirming"
    WARNING = "warning"
    CONTRAINDICATED = "contraindicated"


@dataclass(frozen=True, slots=True)
class Vector:
    """One value of -128 to 127 per aspect; 0 where nothing is claimed."""

    instance_identity: int = NO_CLAIM
    configuration: int = NO_CLAIM
    executables: int = NO_CLAIM
    file_system: int = NO_CLAIM
    hardware: int = NO_CLAIM
    runtime_opaque: int = NO_CLAIM
    storage_opaque: int = NO_CLAIM
    sourced_data: int = NO_CLAIM

    def __iter__(self) -> Iterator[int]:
        return (getattr(self, field.name) for field in fields(self))

    def to_json(self) -> Mapping[str, JsonValue]:
        """Return every aspect by its name in JSON, those without a claim too."""
        return {name.replace("_", "-"): value for name, value in asdict(self).items()}


def tier(value: int) -> Tier:
    """Return what one value comes to."""
    if -1 <= value <= 1:
        return Tier.NONE
    if -32 <= value <= 31:
        return Tier.AFFIRMING
    if -96 <= value <= 95:
        return Tier.WARNING
    return Tier.CONTRAINDICATED


def status(result: AttestationResult) -> Tier:
    """
    Return the tier of a whole result: contraindicated for every refusal, else the worst of the vector.

    A refusal is a refusal, also where no single aspect is known to be bad: many a relying party turns away
    nothing but `contraindicated`.
    """
    return status_of(result, vector(result))


def status_of(result: AttestationResult, found: Vector) -> Tier:
    """Return the tier of a result whose vector is known."""
    return Tier.CONTRAINDICATED if result.verdict is not Verdict.AFFIRMING else _worst_tier(found)


def vector(result: AttestationResult) -> Vector:
    """Return the trustworthiness vector of a result, affirming or not."""
    if result.claims is None:
        found = _unproven(result.verdict)
    else:
        found = _appraised(result, result.claims, ASPECTS[result.tee])
    proves_nothing = result.simulated or result.software
    if proves_nothing or any(mismatch.verdict in _ANSWERS_NOTHING for mismatch in result.mismatches):
        found = _without_affirmations(found)
    if proves_nothing:
        found = replace(found, hardware=UNRECOGNISED_HARDWARE, runtime_opaque=VISIBLE_MEMORY)
    return found


def _unproven(verdict: Verdict) -> Vector:
    """Nothing that was said is proven, so only the reason counts."""
    match verdict:
        case Verdict.MALFORMED:
            return _of_all(UNKNOWN_ELEMENTS)
        case Verdict.NOT_AUTHENTIC:
            return _of_all(CRYPTOGRAPHY_FAILED)
        case Verdict.REVOKED:
            return Vector(instance_identity=UNTRUSTWORTHY_INSTANCE, hardware=CONTRAINDICATED_HARDWARE)
        case Verdict.TCB_TOO_LOW:
            return Vector(hardware=CONTRAINDICATED_HARDWARE)
        case _:
            return Vector()


def _of_all(value: int) -> Vector:
    """Every aspect of which some kind of evidence speaks."""
    return Vector(
        instance_identity=value,
        configuration=value,
        executables=value,
        hardware=value,
        runtime_opaque=value,
    )


def _appraised(result: AttestationResult, claims: Mapping[str, JsonValue], aspects: Aspects) -> Vector:
    debug = bool(aspects.debug) and _at(claims, aspects.debug) is not False
    age = _at(claims, aspects.status) if aspects.status else None
    held = any(_at(one, ("state",)) == _HOLD for path in aspects.states for one in _items(claims, path))
    differing = _by_aspect(result.mismatches, aspects)
    return Vector(
        instance_identity=_identity(result.unchecked, differing["identity"], aspects),
        configuration=_configuration(result.unchecked, differing["configuration"], aspects, age, debug=debug),
        executables=_executables(differing["executables"], aspects, debug=debug),
        hardware=_hardware(result.unchecked, differing["hardware"], aspects, age, held=held),
        runtime_opaque=_runtime(aspects, debug=debug),
    )


def _by_aspect(mismatches: Iterable[Mismatch], aspects: Aspects) -> Mapping[str, tuple[Mismatch, ...]]:
    """What no aspect claims is a matter of configuration, so that nothing is lost."""
    fields_of = {
        "executables": aspects.executables,
        "identity": aspects.identity,
        "hardware": aspects.hardware,
        "configuration": ("",),
    }
    found: dict[str, tuple[Mismatch, ...]] = dict.fromkeys(fields_of, ())
    for mismatch in mismatches:
        if mismatch.verdict not in _ANSWERS_NOTHING:
            place = next(name for name, starts in fields_of.items() if mismatch.field.startswith(starts))
            found[place] = (*found[place], mismatch)
    return found


def _identity(unchecked: tuple[str, ...], differing: tuple[Mismatch, ...], aspects: Aspects) -> int:
    """Recognised is who the policy names; not known to be compromised, whose revocation was looked up."""
    if differing:
        return UNRECOGNISED_INSTANCE
    named = any(key not in unchecked for key in aspects.identity)
    return RECOGNISED_INSTANCE if named and "crl" not in unchecked else NO_CLAIM


def _configuration(
    unchecked: tuple[str, ...],
    differing: tuple[Mismatch, ...],
    aspects: Aspects,
    age: JsonValue,
    *,
    debug: bool,
) -> int:
    if differing:
        return UNSUPPORTABLE_CONFIGURATION
    if debug or age in _CONFIGURATION_NEEDED:
        return VULNERABLE_CONFIGURATION
    approved = aspects.configuration and not _any_of(aspects.configuration, unchecked)
    return APPROVED_CONFIGURATION if approved else NO_CLAIM


def _executables(differing: tuple[Mismatch, ...], aspects: Aspects, *, debug: bool) -> int:
    """A measurement is taken when something is loaded; a host that can debug changes it afterwards."""
    if differing:
        return UNRECOGNISED_EXECUTABLES
    return APPROVED_BOOT if aspects.executables and not debug else NO_CLAIM


def _hardware(
    unchecked: tuple[str, ...],
    differing: tuple[Mismatch, ...],
    aspects: Aspects,
    age: JsonValue,
    *,
    held: bool,
) -> int:
    verdicts = {mismatch.verdict for mismatch in differing}
    if Verdict.NOT_AUTHENTIC in verdicts:
        return UNRECOGNISED_HARDWARE
    if verdicts & {Verdict.POLICY_MISMATCH, Verdict.REVOKED} or age == _REVOKED:
        return CONTRAINDICATED_HARDWARE
    if Verdict.TCB_TOO_LOW in verdicts or age not in (None, _UP_TO_DATE) or held:
        return VULNERABLE_HARDWARE
    unsettled = aspects.status and age is None
    if verdicts or unsettled or _any_of(aspects.supported, unchecked):
        return NO_CLAIM
    return GENUINE_HARDWARE


def _runtime(aspects: Aspects, *, debug: bool) -> int:
    if debug:
        return VISIBLE_MEMORY
    return ENCRYPTED_MEMORY if aspects.encrypted else NO_CLAIM


def _any_of(patterns: Path, keys: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for key in keys for pattern in patterns)


def _at(claims: JsonValue, path: Path) -> JsonValue:
    """Return the claim at a path; None where there is none."""
    for name in path:
        if not isinstance(claims, Mapping):
            return None
        claims = claims.get(name)
    return claims


def _items(claims: JsonValue, path: Path) -> Sequence[JsonValue]:
    """Return the claims in the array at a path; none where there is no array."""
    found = _at(claims, path)
    return found if isinstance(found, list | tuple) else ()


def _without_affirmations(found: Vector) -> Vector:
    values = (NO_CLAIM if tier(value) is Tier.AFFIRMING else value for value in found)
    return Vector(*values)


def _worst_tier(values: Iterable[int]) -> Tier:
    order = list(Tier)
    return max((tier(value) for value in values), key=order.index)
