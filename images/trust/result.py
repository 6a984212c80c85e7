"""What came out of verifying an image: what was accepted, or everything that was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from images.provenance import Build
from images.signature.keys import PublicKey
from images.signature.simple_signing import Claim
from images.trust.verdict import Verdict, most_fundamental
from shim.canonical import JsonValue
from shim.errors import FoundWantError, ShimError

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason against an image, of which kind, and what is said of it."""

    verdict: Verdict
    error: FoundWantError

    def __str__(self) -> str:
        return str(self.error)


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """
    One image of a layout.

    Attributes:
        digest: SHA-256 of its manifest or index, 64 hexadecimal digits.
        platform: "os/architecture", or "" for an index.
        reference: The name by which tools find it in the layout, or "".
        claim: What enough accepted keys say of it, or None.
        signers: Those keys.
        provenance: How it was made, as an accepted key says and the policy accepts, or None.
        attached: Types of what is attached to it, in order.
    """

    digest: str
    platform: str
    reference: str
    claim: Claim | None
    signers: tuple[PublicKey, ...]
    provenance: Build | None
    attached: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustResult:
    """
    The outcome.

    Attributes:
        where: The layout.
        images: What was found out about each image.
        refusals: Every reason against it; none if it is accepted.
        unchecked: What the policy leaves unchecked.
        policy: SHA-256 of the policy, 64 hexadecimal digits.
    """

    where: str
    images: tuple[VerifiedImage, ...]
    refusals: tuple[Refusal, ...]
    unchecked: tuple[str, ...]
    policy: str

    @property
    def verdict(self) -> Verdict:
        """ACCEPTED, or the most fundamental of the refusals."""
        return most_fundamental(refusal.verdict for refusal in self.refusals)

    def value(self) -> dict[str, JsonValue]:
        """Return the result as JSON."""
        return {
            "schema": SCHEMA_VERSION,
            "layout": self.where,
            "verdict": self.verdict.value,
            "images": [_image(image) for image in self.images],
            "refusals": [_refusal(refusal) for refusal in self.refusals],
            "unchecked": list(self.unchecked),
            "policy": self.policy,
        }


class ImageRefusedError(ShimError):
    """
    An image that a policy does not accept.

    Attributes:
        result: All that was found out.
        exit_code: The exit code of its verdict.
    """

    def __init__(self, result: TrustResult) -> None:
        self.result = result
        self.exit_code = result.verdict.exit_code
        super().__init__(result)

    @property
    def problems(self) -> tuple[Refusal, ...]:
        """Every reason, not only the first."""
        return self.result.refusals

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def _image(image: VerifiedImage) -> JsonValue:
    claim, build = image.claim, image.provenance
    return {
        "digest": f"sha256:{image.digest}",
        "platform": image.platform,
        "reference": image.reference,
        "identity": None if claim is None else claim.identity,
        "version": None if claim is None else claim.version,
        "signers": [{"key": key.name, "sha256": key.identifier} for key in image.signers],
        "provenance": None if build is None else _build(build),
        "attached": list(image.attached),
    }


def _build(build: Build) -> JsonValue:
    inputs: Sequence[JsonValue] = [
        {"name": one.name, "uri": one.uri, "sha256": one.sha256}
        | ({"packages": list(one.packages)} if one.packages else {})
        for one in build.inputs
    ]
    return {"builder": build.builder, "build_type": build.build_type, "inputs": inputs}


def _refusal(refusal: Refusal) -> JsonValue:
    error = refusal.error
    return {
        "verdict": refusal.verdict.value,
        "where": error.where,
        "found": error.found,
        "want": error.want,
        "source": error.source,
    }
