"""Does provenance that an accepted key signed say that an image was made as a policy wants it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attestation.policy_file import UNCHECKED, Checked
from images import provenance
from images.layout.graph import Index, Layout, Manifest, manifests_in
from images.provenance import Build
from images.signature import bundle
from images.signature.dsse import Envelope
from images.signature.errors import SignatureError, SignatureFormatError
from images.signature.statement import Statement
from images.trust.claims import Detached, envelopes, statement_by
from images.trust.errors import ImageAppraisalError
from images.trust.policy import ProvenanceRules
from images.trust.result import Refusal
from images.trust.verdict import Verdict

_SHOWN = 5


def accepted_provenance(  # what is judged, by which rules
    layout: Layout,
    rules: Checked[ProvenanceRules],
    image: Manifest | Index,
    attached: Sequence[Manifest],
    detached: Sequence[Detached],
    where: str,
) -> tuple[Build | None, list[Refusal]]:
    """
    Return how an image was made, and what is against that: nothing, if one provenance is as the rules want.

    Args:
        layout: Holds the image.
        rules: What provenance has to say, or UNCHECKED.
        image: Its digest has to be among the subjects, or for an index that of each image inside.
        attached: What is attached to it.
        detached: Bundles beside the layout.
        where: The image's name, for messages.

    Source:
        SLSA 1.0, "Verifying artifacts", steps 1 and 2.
    """
    if rules is UNCHECKED:
        return None, []
    against: list[Refusal] = []
    try:
        for envelope, name in _candidates(layout, attached, detached):
            try:
                said, _ = statement_by(envelope, rules.keys, name)
            except SignatureError as error:
                against.append(Refusal(Verdict.NOT_AUTHENTIC, error))
                continue
            if said.predicate_type != provenance.PREDICATE_TYPE:
                continue
            build = provenance.read(said, name)
            wrong = [*_about_another(said, image, name), *_unaccepted(build, rules, name)]
            if not wrong:
                return build, []
            against += wrong
    except SignatureFormatError as error:
        return None, [*against, Refusal(Verdict.MALFORMED, error)]
    if not against:
        none = ImageAppraisalError(f"{where}: provenance", "none", "one by a builder that the policy accepts")
        against.append(Refusal(Verdict.POLICY_MISMATCH, none))
    return None, against


def _candidates(
    layout: Layout, attached: Sequence[Manifest], detached: Sequence[Detached]
) -> Iterator[tuple[Envelope, str]]:
    for one in attached:
        yield from envelopes(layout, one)
    for bundled in detached:
        content = bundle.parse(bundled.data, bundled.where).content
        if isinstance(content, Envelope) and provenance.PREDICATE_TYPE.encode() in content.payload:
            yield content, bundled.where


def _about_another(said: Statement, image: Manifest | Index, where: str) -> Iterator[Refusal]:
    subjects = {subject.sha256 for subject in said.subjects}
    inside = {one.descriptor.digest for one in manifests_in(image)}
    if image.descriptor.digest not in subjects and not inside <= subjects:
        found = ", ".join(sorted(subject[:16] for subject in subjects))
        error = ImageAppraisalError(f"{where}: subject", found, image.descriptor.digest)
        yield Refusal(Verdict.POLICY_MISMATCH, error)


def _unaccepted(build: Build, rules: ProvenanceRules, where: str) -> Iterator[Refusal]:
    def refusal(field: str, found: str, want: str) -> Refusal:
        return Refusal(Verdict.POLICY_MISMATCH, ImageAppraisalError(f"{where}: {field}", found, want))

    if build.builder not in rules.builders:
        yield refusal("builder", repr(build.builder), " or ".join(sorted(rules.builders)))
    if rules.build_types is not UNCHECKED and build.build_type not in rules.build_types:
        yield refusal("build type", repr(build.build_type), " or ".join(sorted(rules.build_types)))
    if rules.inputs is UNCHECKED:
        return
    if not build.inputs:
        yield refusal("inputs", "none", "everything that the image was made from")
    unknown = [one for one in build.inputs if not rules.inputs.accepts(one.uri, one.sha256)]
    for one in unknown[:_SHOWN]:
        yield refusal("input", str(one), "a digest or a source that the policy accepts")
    if len(unknown) > _SHOWN:
        yield refusal("inputs", f"{len(unknown) - _SHOWN} more that are not accepted", "none")
