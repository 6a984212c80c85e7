"""A signed image with all that can be attached to it, and the verdict about it and about what is made of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tomlkit

from images import manifest, provenance
from images.buildinfo import Written
from images.layout.contents import contents_of
from images.layout.graph import Layout, parse
from images.provenance import Build
from images.signature import signing, statement
from images.signature.attachments import recognised
from images.signature.keys import PrivateKey
from images.signature.signing import Signing
from images.signature.statement import Subject
from images.trust import policy
from images.trust.claims import Detached
from images.trust.policy import TrustPolicy
from images.trust.result import ImageRefusedError, TrustResult
from images.trust.verify import verify
from shim.errors import ShimError
from tests.fakes import layouts

BUILDER = "https://build.example/ci"


@dataclass(frozen=True)
class Case:
    """A layout before and after it was signed, and who signed."""

    unsigned: Mapping[str, bytes]
    signed: Mapping[str, bytes]
    release: PrivateKey
    builder: PrivateKey
    known: dict[str, TrustPolicy] = field(default_factory=dict)

    def policy(self, changes: Mapping[str, Any] | None = None) -> TrustPolicy:
        """Return the policy that accepts it, with other values at dotted keys."""
        asked = json.dumps(changes, sort_keys=True)
        if asked in self.known:
            return self.known[asked]
        value = copy.deepcopy(dict(layouts.POLICY))
        for path, new in (changes or {}).items():
            place: Any = value
            *above, last = path.split(".")
            for name in above:
                place = place[name]
            place[last] = new
        keys = {"release.pub": self.release, "builder.pub": self.builder}
        found = policy.load(tomlkit.dumps(value), "p.toml", lambda name: layouts.public_pem(keys[name]))
        return self.known.setdefault(asked, found)


def case(files: Mapping[str, bytes] | None = None, *, version: int | None = 7, kind: str = "p256") -> Case:
    """Return a signed image."""
    release, builder = layouts.new_key("release", kind), layouts.new_key("builder", "ed25519")
    unsigned = dict(files or layouts.layout())
    made = sign(unsigned, release, builder, version=version)
    return Case(unsigned, made.files, release, builder)


def sign(  # what can be another in a test
    files: Mapping[str, bytes],
    release: PrivateKey,
    builder: PrivateKey,
    *,
    version: int | None = 7,
    identity: str = layouts.IDENTITY,
    sboms: Sequence[bytes] = (layouts.SBOM,),
    build: Build | None = None,
    subject: str = "",
) -> Layout:
    """Return a layout with SBOM and provenance attached to each image, signed."""
    layout = parse(files, "img")
    attachments = []
    for image in contents_of(layout).images:
        digest = image.descriptor.digest
        made = build or provenance.build_of(
            manifest.loads(layouts.image_manifest(), "manifest"), Written("oci"), BUILDER
        )
        said = provenance.write((Subject("", subject or digest, {}),), made)
        for one in (*(recognised(data, "sbom") for data in sboms),
                    signing.statement_attachment(said, provenance.PREDICATE_TYPE, builder)):  # fmt: skip
            attachments.append((image.descriptor, one))  # noqa: PERF401  # a pair of loops
    return signing.signed(signing.attached(layout, attachments), Signing(release, identity, version))


def judged(
    one: Case,
    files: Mapping[str, bytes],
    *,
    changes: Mapping[str, Any] | None = None,
    seen: Mapping[str, int] | None = None,
    detached: Sequence[bytes] = (),
) -> TrustResult:
    """Return the outcome; raises as `parse` and `verify`."""
    bundles = tuple(Detached(data, "bundle") for data in detached)
    return verify(parse(files, "img"), one.policy(changes), seen=seen or {}, detached=bundles)


def refusals(one: Case, files: Mapping[str, bytes], **more: Any) -> list[str]:  # noqa: ANN401  # as `judged`
    """Return why it is refused, in words; [] if it is accepted."""
    try:
        judged(one, files, **more)
    except ImageRefusedError as error:
        return [f"{refusal.verdict.name}: {refusal}" for refusal in error.problems]
    except ShimError as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def entries(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Return what index.json names."""
    found: list[dict[str, Any]] = json.loads(files["index.json"])["manifests"]
    return found


def statement_of(subjects: Sequence[Subject], predicate_type: str) -> bytes:
    """Return a statement that says nothing."""
    return statement.write(subjects, predicate_type, {})
