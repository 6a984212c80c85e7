"""What `shim sign`, `shim verify-image` and `shim run` share: policies, keys and layouts from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shim.errors import FoundWantError

if TYPE_CHECKING:
    from images.layout.graph import Layout
    from images.trust.policy import TrustPolicy
    from images.trust.result import TrustResult


@dataclass(frozen=True, slots=True)
class Trusted:
    """A layout that a policy accepts: the bytes that were checked, the policy, and what was found out."""

    layout: Layout
    policy: TrustPolicy
    result: TrustResult


def read_document(path: Path, limit: int) -> bytes:
    """Return the contents of a file of at most `limit` bytes; raises SignatureFormatError."""
    from images.signature.errors import SignatureFormatError

    return _read(path, limit, SignatureFormatError)


def read_key_file(path: Path) -> bytes:
    """Return the contents of a key file; raises SigningKeyError."""
    from images.signature.errors import SigningKeyError
    from images.signature.keys import MAX_KEY

    return _read(path, MAX_KEY, SigningKeyError)


def load_policy(path: Path) -> TrustPolicy:
    """
    Return the policy in a file; the keys that it names are beside it.

    Raises:
        PolicyError: everything that is wrong with it.
    """
    from attestation import files
    from images.trust import policy

    return policy.load(files.read_policy(path), str(path), lambda name: read_key_file(path.parent / name))


def trusted(layout_path: Path, policy_path: Path, bundles: tuple[Path, ...]) -> Trusted:
    """
    Return a layout that a policy accepts, read once.

    Raises:
        PolicyError: the policy cannot be used.
        LayoutError: the layout is damaged, altered or hostile.
        VersionStateError: what was accepted before cannot be told.
        ImageRefusedError: the policy does not accept it.
    """
    from attestation.policy_file import UNCHECKED
    from images.layout import files, graph
    from images.signature.dsse import MAX_ENVELOPE
    from images.trust import version_state
    from images.trust.claims import Detached
    from images.trust.verify import verify

    policy = load_policy(policy_path)
    seen = {} if policy.state is UNCHECKED else version_state.read_file(policy_path.parent / policy.state)
    layout = graph.parse(files.read_files(layout_path), str(layout_path))
    detached = tuple(Detached(read_document(path, MAX_ENVELOPE), str(path)) for path in bundles)
    return Trusted(layout, policy, verify(layout, policy, seen=seen, detached=detached))


def remember(found: Trusted, policy_path: Path) -> None:
    """
    Keep the versions that were accepted, so that none below them will be.

    Raises:
        VersionStateError: they cannot be kept, or a higher one was accepted meanwhile.
    """
    from attestation.policy_file import UNCHECKED
    from images.trust import version_state

    if found.policy.state is UNCHECKED:
        return
    versions: dict[str, int] = {}
    for image in found.result.images:
        if image.claim is not None and image.claim.version is not None:
            # The images of one layout may differ; each of them has to stay acceptable.
            known = versions.get(image.claim.identity, image.claim.version)
            versions[image.claim.identity] = min(known, image.claim.version)
    version_state.remember(policy_path.parent / found.policy.state, versions)


def _read(path: Path, limit: int, error: type[FoundWantError]) -> bytes:
    from attestation.files import read_limited
    from images.layout.errors import reading

    with reading(error):
        return read_limited(path, "file", limit)
