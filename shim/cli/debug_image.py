"""`shim debug IMAGE`: what is in an image, what its plan says, and who vouches for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from images.anatomy import Anatomy, FileFacts
    from images.layers import Layers
    from images.trust.result import TrustResult
    from shim.canonical import JsonValue
    from shim.cli.image_parts import LaunchedImage

PREDICATE = "dev.sigstore.bundle.predicateType"
_ATTACHED = {"spdx": "SBOM", "cyclonedx": "SBOM", "openvex": "VEX", "slsa.dev/provenance": "provenance"}
# What only explains a file; the whole reason is in --file.
_SHOWN_REASON = 60


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image, opened: its parts, its files, and what a policy says of it, None if none was asked."""

    image: LaunchedImage
    layers: Layers
    anatomy: Anatomy
    result: TrustResult | None


def view(path: str, policy: Path | None, bundles: tuple[Path, ...]) -> ImageView:
    """
    Return an image of shim build, opened.

    Raises:
        ShimError: no such image, a damaged or hostile one, or one that the policy refuses.
    """
    from images.anatomy import anatomy
    from images.layers import Layers
    from shim.cli.image_parts import launched_image, vouched

    layout, result = vouched(path, policy, bundles)
    image = launched_image(layout)
    layers = Layers(path)
    for number, archive in enumerate(image.archives):
        layers.apply(archive, f"{path}: layer {number}")
    return ImageView(image, layers, anatomy(layers), result)


def one_file(found: ImageView, path: str) -> FileFacts:
    """
    Return what an image has at a path, given with or without the leading slash; links above it are followed.

    Raises:
        SourceError: nothing.
    """
    from images.errors import SourceError

    wanted = "/" + path.strip("/")
    above, _, name = wanted.rpartition("/")
    file = found.anatomy.find(f"{found.layers.canonical(above or '/').rstrip('/')}/{name}")
    if file is None:
        raise SourceError(f"{found.image.layout.where}: {wanted}", "nothing", "a path in the image")
    return file


def value(found: ImageView) -> dict[str, JsonValue]:
    """Return all of it as JSON."""
    from shim.launch.plan_codec import decode
    from shim.launch.plan_words import facts

    anatomy, image = found.anatomy, found.image
    manifest = anatomy.manifest
    digests = {one.sha256: one.path for one in anatomy.files if one.sha256}
    return {
        "layout": image.layout.where,
        "manifest": f"sha256:{image.image.descriptor.digest}",
        "entry_point": list(image.entry_point),
        "user": None if image.user is None else list(image.user),
        "request": None if manifest is None else list(manifest.request),
        "inputs": None
        if manifest is None
        else [{"name": one.name, "sha256": one.sha256, "detail": one.detail} for one in manifest.inputs],
        "tool_version": None if manifest is None else manifest.tool_version,
        "release": anatomy.release,
        "plan": facts(decode(image.plan), digests),
        "trust": None if found.result is None else found.result.value(),
        "attached": list(_attached(found)),
        "problems": list(anatomy.problems),
        "files": [file_value(one) for one in anatomy.files],
    }


def file_value(one: FileFacts) -> dict[str, JsonValue]:
    """Return one file as JSON."""
    reason = one.reason
    return {
        "path": one.path,
        "kind": one.kind,
        "mode": f"{one.mode:04o}",
        "size": one.size,
        "sha256": one.sha256,
        "target": one.target,
        "reason": None if reason is None else {"rule": reason.rule, "by": reason.by, "detail": reason.detail},
        "differs": list(one.differs),
        "packages": list(one.packages),
    }


def _attached(found: ImageView) -> Iterator[JsonValue]:
    """Yield what belongs to the image in its layout, by its own account: SBOMs, provenance, signatures."""
    from images.layout.contents import SIGNATURE_TYPE, contents_of
    from images.trust.claims import count_signatures

    layout = found.image.layout
    contents = contents_of(layout)
    for image in contents.images:
        if signatures := count_signatures(contents, image):
            yield {"what": "signatures", "type": SIGNATURE_TYPE, "count": signatures, "said": {}}
    for one in contents.attachments:
        about = f"{one.artifact_type} {one.annotations.get(PREDICATE, '')}"
        what = next((word for part, word in _ATTACHED.items() if part in about), "something else")
        yield {"what": what, "type": one.artifact_type, "count": 1, "said": dict(one.annotations)}


def lines(found: ImageView) -> Iterator[str]:
    """Yield all of it for people."""
    said: Any = value(found)
    image = found.image
    yield f"image {said['layout']}: {said['manifest']}"
    yield f"entry point: {' '.join(image.entry_point)}" + (f", as user {image.user}" if image.user else "")
    yield from _trust(found, said["attached"])
    if said["tool_version"] is not None:
        yield f"made by shim {said['tool_version']}: shim build {' '.join(said['request'])}".rstrip()
        yield from (
            f"  from {one['name']}: {one['detail']}{_digest(one['sha256'])}" for one in said["inputs"]
        )
    yield from _plan(said["plan"])
    yield from (f"wrong: {_plain(problem)}" for problem in said["problems"])
    yield from _files(found.anatomy)


def file_lines(one: FileFacts) -> Iterator[str]:
    """Yield what is known of one file."""
    leads = f" -> {one.target}" if one.target else ""
    yield f"{_plain(one.path + leads)}: {one.kind}, mode {one.mode:04o}"
    if one.sha256:
        yield f"size: {one.size} bytes, sha256:{one.sha256}"
    if one.reason is None:
        yield "reason: none: the manifest does not name it"
    else:
        by = f", because of {one.reason.by}" if one.reason.by else ""
        yield _plain(
            f"reason: {one.reason.rule}{by}" + (f": {one.reason.detail}" if one.reason.detail else "")
        )
    yield f"package: {', '.join(one.packages) or 'none that records in the image name'}"
    yield from (f"wrong: {_plain(line)}" for line in one.differs)


def _trust(found: ImageView, attached: list[Any]) -> Iterator[str]:
    result = found.result
    if result is None:
        yield "trust: every byte is what names it; who made it was not asked (--image-policy FILE)"
    else:
        for image in result.images:
            claim = image.claim
            version = "" if claim is None or claim.version is None else f" version {claim.version}"
            signers = ", ".join(key.name for key in image.signers) or "nobody that was asked for"
            identity = "" if claim is None or not claim.identity else f" as {claim.identity}"
            yield _plain(f"trust: accepted; signed by {signers}{identity}{version}")
            builder = "not checked" if image.provenance is None else f"built by {image.provenance.builder}"
            yield _plain(f"provenance: {builder}")
        if result.unchecked:
            yield f"unchecked by the policy: {', '.join(result.unchecked)}"
    for one in attached:
        said = one["said"].get(PREDICATE, "")
        yield _plain(f"attached: {one['what']} ({one['count']}): {one['type']}{said and ', ' + said}")
    if not attached:
        yield "attached: nothing: no signature, no SBOM, no provenance"


def _plan(plan: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    yield f"plan: {plan['program']} sha256:{plan['sha256']}"
    yield f"  arguments: {' '.join(plan['arguments'])}; further ones are {plan['further_arguments']}"
    yield f"  environment: {' '.join(plan['environment']) or 'empty'}"
    yield f"  a refused call: {plan['refused_call']}"
    yield f"  flags: {', '.join(plan['flags']) or 'none'}"
    for one in plan["filters"]:
        pinned = "pinned to their places" if one["pinned"] else "from any place"
        yield f"  from {one['from']}: {len(one['calls'])} calls {pinned}, {one['instructions']} instructions"
        some = set(one["with_certain_arguments"])
        yield "    " + " ".join(f"{name}*" if name in some else name for name in one["calls"])
    yield "    * with certain arguments only"
    yield f"  sealed: {plan['sealed_bytes']} bytes of the program"
    yield from (
        f"  measured: {one['path'] or 'a file that is not here'} sha256:{one['sha256']}"
        for one in plan["objects"]
    )
    yield from _landlock(plan["landlock"])
    yield f"  identity: {_pairs(plan['identity']) or 'who starts it'}"
    yield f"  namespaces of its own: {', '.join(plan['namespaces']) or 'none'}"
    limits = (f"{name} {soft}:{hard}" for name, (soft, hard) in plan["limits"].items())
    yield f"  limits: {', '.join(limits) or 'none'}"
    yield f"  time: {plan['timeout_ns'] / 1e9:g} s" if plan["timeout_ns"] else "  time: without end"
    yield f"  cgroup: {_pairs(plan['cgroup']) or 'none of its own'}"


def _landlock(rules: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    if rules is None:
        yield "  Landlock: nothing is denied"
        return
    denied = (f"{kind} ({', '.join(words)})" for kind, words in rules["denied"].items() if words)
    yield f"  Landlock denies: {'; '.join(denied)}"
    yield from (f"    but {one['path']}: {', '.join(one['rights'])}" for one in rules["paths"])
    yield from (f"    but port {one['port']}: {', '.join(one['rights'])}" for one in rules["ports"])


def _files(anatomy: Anatomy) -> Iterator[str]:
    size = sum(one.size for one in anatomy.files)
    release = f", packages of {anatomy.release}" if anatomy.release else ""
    yield f"files: {len(anatomy.files)} entries, {size} bytes{release}"
    for one in anatomy.files:
        kind = {"directory": "d", "symlink": "l", "file": "-"}.get(one.kind, "?")
        leads = f" -> {one.target}" if one.target else ""
        package = f"  [{', '.join(one.packages)}]" if one.packages else ""
        wrong = "".join(f"  wrong: {text}" for text in one.differs)
        yield _plain(
            f"  {kind}{one.mode:04o} {one.size:>10} {one.path}{leads}  ({_reason(one)}){package}{wrong}"
        )


def _reason(one: FileFacts) -> str:
    if one.path == "/shim/manifest.json":
        return "the manifest itself"
    if one.reason is None:
        return "not in the manifest"
    text = one.reason.rule + (f": {one.reason.detail}" if one.reason.detail else "")
    return text if len(text) <= _SHOWN_REASON else text[: _SHOWN_REASON - 1] + "…"


def _pairs(given: Mapping[str, object] | None) -> str:
    return ", ".join(f"{name} {given[name]}" for name in given if given[name]) if given else ""


def _digest(sha256: str) -> str:
    return f", sha256:{sha256}" if sha256 else ""


def _plain(text: str) -> str:
    """Return a line whose bytes cannot steer a terminal."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def echo(text: Iterator[str]) -> None:
    """Print lines."""
    for line in text:
        click.echo(line)
