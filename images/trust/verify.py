"""
Is an image layout one that a policy accepts?

The order is that of what rests on what: bytes, then who signed them, then how new they are, then how they
were made.  Of the last three everything that is wrong is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from attestation.policy_file import UNCHECKED
from images.layout import contents as layout_contents
from images.layout.contents import Contents
from images.layout.errors import LayoutError
from images.layout.graph import Index, Layout, Manifest, manifests_in
from images.layout.layers import MAX_UNPACKED, check_layers, platform_of
from images.signature import stored
from images.signature.errors import SignatureError, SignatureFormatError
from images.signature.keys import PublicKey
from images.signature.simple_signing import Claim
from images.trust.claims import Detached, claims_about, count_signatures
from images.trust.errors import ImageAppraisalError
from images.trust.inputs import accepted_provenance
from images.trust.policy import TrustPolicy
from images.trust.result import ImageRefusedError, Refusal, TrustResult, VerifiedImage
from images.trust.verdict import Verdict

SBOM_TYPES = MappingProxyType(
    {
        "spdx": ("application/spdx+json",),
        "cyclonedx": ("application/vnd.cyclonedx+json",),
        "any": ("application/spdx+json", "application/vnd.cyclonedx+json"),
    }
)


def verify(
    layout: Layout,
    policy: TrustPolicy,
    *,
    seen: Mapping[str, int],
    detached: Sequence[Detached] = (),
    limit: int = MAX_UNPACKED,
) -> TrustResult:
    """
    Return what was found out about a layout that a policy accepts.

    Every image in it has to be acceptable, also those for other machines.

    Args:
        layout: `images.layout.graph.parse` has held every blob against its digest.
        policy: What is accepted.
        seen: The highest version that was accepted so far, by identity; from `images.trust.version_state`.
        detached: Bundles of sigstore that are kept beside the layout.
        limit: Bytes that the layers of one image may have, unpacked.

    Raises:
        LayoutError: the layout is of a form that no policy could accept, or a layer is not what it should be.
        ImageRefusedError: the policy does not accept it; with the whole result.

    Not checked:
        Transparency logs; that a version is the newest there is, only that no newer one was seen here; that
        what an SBOM says is true.
    """
    contents = layout_contents.contents_of(layout)
    refusals: list[Refusal] = []
    case = _Case(layout, policy, contents, layout_contents.digest_of(layout, contents), seen, detached)
    images = tuple(_verified(case, image, limit, refusals) for image in contents.images)
    if policy.exact and any(image.claim for image in images):  # what nobody signed is spelled as it likes
        refusals[:0] = _misspelled(layout, contents)
    result = TrustResult(layout.where, images, tuple(refusals), policy.unchecked, policy.sha256)
    if refusals:
        raise ImageRefusedError(result)
    return result


def _misspelled(layout: Layout, contents: Contents) -> Iterator[Refusal]:
    try:
        layout_contents.check_spelling(layout, contents)
        for signature in contents.signatures:
            stored.check_spelling(layout, signature)
    except (LayoutError, SignatureFormatError) as error:
        yield Refusal(Verdict.MALFORMED, error)


@dataclass(frozen=True, slots=True)
class _Case:
    """One layout before one policy."""

    layout: Layout
    policy: TrustPolicy
    contents: Contents
    digest: str
    seen: Mapping[str, int]
    detached: Sequence[Detached]

    def attached_to(self, image: Manifest | Index) -> list[Manifest]:
        """Return what belongs to an image, or to one inside of it."""
        mine = {image.descriptor.digest, *(one.descriptor.digest for one in manifests_in(image))}
        return [one for one in self.contents.attachments if one.subject and one.subject.digest in mine]


def _verified(case: _Case, image: Manifest | Index, limit: int, refusals: list[Refusal]) -> VerifiedImage:
    """Return what was found out about one image; what is against it goes to `refusals`."""
    for one in manifests_in(image):
        check_layers(case.layout, one, limit)
    where = f"{case.layout.where}: image {image.descriptor.digest[:16]}"
    claim: Claim | None = None
    by: tuple[PublicKey, ...] = ()
    try:
        claim, by = _agreed(case, image, where)
    except SignatureError as error:
        refusals.append(Refusal(Verdict.NOT_AUTHENTIC, error))
    except SignatureFormatError as error:
        refusals.append(Refusal(Verdict.MALFORMED, error))
    if claim is not None:
        refusals += _against(case, claim, where)
    attached = case.attached_to(image)
    build, against = accepted_provenance(
        case.layout, case.policy.provenance, image, attached, case.detached, where
    )
    refusals += against
    refusals += _without_sbom(case.policy, attached, where)
    return VerifiedImage(
        image.descriptor.digest,
        platform_of(case.layout, image) if isinstance(image, Manifest) else "",
        image.descriptor.reference,
        claim,
        by,
        build,
        tuple(one.artifact_type for one in attached),
    )


def _agreed(case: _Case, image: Manifest | Index, where: str) -> tuple[Claim, tuple[PublicKey, ...]]:
    """
    Return the claim that enough accepted keys make, the one that fits best where there are several.

    Raises:
        SignatureError: too few accepted keys make one and the same claim.
        SignatureFormatError: as `claims_about`.
    """
    policy = case.policy
    by: dict[Claim, dict[str, PublicKey]] = {}
    for one in claims_about(case.layout, case.contents, image, case.detached, policy.keys):
        by.setdefault(one.claim, {})[one.key.identifier] = one.key
    enough = [claim for claim, keys in by.items() if len(keys) >= policy.threshold]
    if not enough:
        all_of_them = count_signatures(case.contents, image) + len(case.detached)
        most = max((len(keys) for keys in by.values()), default=0)
        found = f"{most} of {all_of_them}, the others altered or by other keys" if all_of_them else "none"
        want = (
            "one by an accepted key"
            if policy.threshold == 1
            else f"{policy.threshold} by different accepted keys"
        )
        raise SignatureError(f"{where}: signatures", found, f"{want} of {policy.where}")
    fits = max(
        enough,
        key=lambda claim: (
            policy.identity in (UNCHECKED, claim.identity),
            not policy.exact or claim.contents == case.digest,
            -1 if claim.version is None else claim.version,
        ),
    )
    return fits, tuple(by[fits].values())


def _against(case: _Case, claim: Claim, where: str) -> Iterator[Refusal]:
    """Yield what is against an image whose signature is good."""
    policy = case.policy
    if policy.identity not in (UNCHECKED, claim.identity):
        error = ImageAppraisalError(f"{where}: identity", repr(claim.identity), repr(policy.identity))
        yield Refusal(Verdict.POLICY_MISMATCH, error)
    if policy.exact and claim.contents != case.digest:
        found = f"sha256:{case.digest}, altered, or with something attached, after it was signed"
        want = (
            f"sha256:{claim.contents}, as is signed"
            if claim.contents
            else "a signature over it, by shim sign"
        )
        yield Refusal(Verdict.MALFORMED, LayoutError(f"{case.layout.where}: contents", found, want))
    if policy.minimum is UNCHECKED:
        return
    if claim.version is None:
        error = ImageAppraisalError(f"{where}: version", "none", f"at least {policy.minimum}")
        yield Refusal(Verdict.ROLLED_BACK, error)
        return
    highest = case.seen.get(claim.identity, 0) if policy.state is not UNCHECKED else 0
    if claim.version < max(highest, policy.minimum):
        known = f"at least {policy.minimum}, the minimum of {policy.where}"
        want = f"at least {highest}, which was accepted before" if highest > policy.minimum else known
        error = ImageAppraisalError(f"{where}: version", str(claim.version), want)
        yield Refusal(Verdict.ROLLED_BACK, error)


def _without_sbom(policy: TrustPolicy, attached: Sequence[Manifest], where: str) -> Iterator[Refusal]:
    if policy.sbom is UNCHECKED:
        return
    wanted = SBOM_TYPES[policy.sbom]
    if not any(one.artifact_type in wanted for one in attached):
        found = ", ".join(one.artifact_type for one in attached) or "nothing attached"
        yield Refusal(
            Verdict.POLICY_MISMATCH, ImageAppraisalError(f"{where}: SBOM", found, " or ".join(wanted))
        )
