"""Does provenance that an accepted key signed say that an image was made as a policy wants it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attestation.policy_file import UNCHECKED, Checked
from images import provenance
from images.layout.graph import Index, Layout, Manifest, manifests_in
from images.provenance import Build
from images.signature import bundle, dsse
from images.signature.dsse import Envelope
from images.signature.errors import SignatureError, SignatureFormatError
from images.signature.statement import PAYLOAD_TYPE, Statement
from images.trust.claims import Detached, statement_by
from images.trust.errors import ImageAppraisalError
from images.trust.policy import ProvenanceRules
from images.trust.result import Refusal
from images.trust.verdict import Verdict

# cosign attaches the first, in-toto names the second: spec/v1/envelope.md, "Storage convention".
_ENVELOPES = ("application/vnd.dsse.envelope.v1+json", "application/vnd.in-toto.provenance+dsse")
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
    for candidate in _candidates(layout, attached, detached):
        try:
            build, wrong = _judged(candidate, rules, image)
        except SignatureError as error:
            against.append(Refusal(Verdict.NOT_AUTHENTIC, error))
        except SignatureFormatError as error:
            against.append(Refusal(Verdict.MALFORMED, error))
        else:
            if build is not None and not wrong:
                return build, []
            against += wrong
    if not against:
        unsigned = any(one.artifact_type == PAYLOAD_TYPE for one in attached)
        found = "one that nobody signed" if unsigned else "none"
        none = ImageAppraisalError(f"{where}: provenance", found, "one by a builder that the policy accepts")
        against.append(Refusal(Verdict.POLICY_MISMATCH, none))
    return None, against


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Bytes that may hold provenance, and their name for messages."""

    data: bytes
    where: str
    bundled: bool

    def envelope(self) -> Envelope | None:
        """Return the envelope in it, None where a bundle has another content; raises SignatureFormatError."""
        if not self.bundled:
            return dsse.parse(self.data, self.where)
        content = bundle.parse(self.data, self.where).content
        return content if isinstance(content, Envelope) else None


def _candidates(
    layout: Layout, attached: Sequence[Manifest], detached: Sequence[Detached]
) -> Iterator[_Candidate]:
    for one in attached:
        for part in one.layers:
            where = f"{layout.where}: {one.artifact_type[:60]} {part.digest[:16]}"
            if part.media_type in (bundle.MEDIA_TYPE, *_ENVELOPES):
                yield _Candidate(layout.blob(part), where, bundled=part.media_type == bundle.MEDIA_TYPE)
    for beside in detached:
        yield _Candidate(beside.data, beside.where, bundled=True)


def _judged(
    candidate: _Candidate, rules: ProvenanceRules, image: Manifest | Index
) -> tuple[Build | None, list[Refusal]]:
    """
    Return what one statement says and what is against it; nothing where it is no provenance.

    Raises:
        SignatureError: it says that it is, and no accepted key signed it.
        SignatureFormatError: no envelope; or an accepted key signed no statement.
    """
    envelope = candidate.envelope()
    if envelope is None or provenance.PREDICATE_TYPE.encode() not in envelope.payload:
        return None, []
    said, _ = statement_by(envelope, rules.keys, candidate.where)
    build = provenance.read(said, candidate.where)
    return build, [*_about_another(said, image, candidate.where), *_unaccepted(build, rules, candidate.where)]


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
