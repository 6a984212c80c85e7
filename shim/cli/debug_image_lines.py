"""How does `shim debug IMAGE` say what is in an image?  Lines for people, of the facts of `debug_image`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from shim.cli.debug_image import PREDICATE, value

if TYPE_CHECKING:
    from images.anatomy import Anatomy, FileFacts
    from shim.cli.debug_image import ImageView

# What only explains a file; the whole reason is in --file.
_SHOWN_REASON = 60


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
    yield from (f"wrong: {problem}" for problem in said["problems"])
    yield from _files(found.anatomy)


def file_lines(one: FileFacts) -> Iterator[str]:
    """Yield what is known of one file."""
    leads = f" -> {one.target}" if one.target else ""
    yield f"{one.path}{leads}: {one.kind}, mode {one.mode:04o}"
    if one.sha256:
        yield f"size: {one.size} bytes, sha256:{one.sha256}"
    if one.reason is None:
        yield "reason: none: the manifest does not name it"
    else:
        by = f", because of {one.reason.by}" if one.reason.by else ""
        yield f"reason: {one.reason.rule}{by}" + (f": {one.reason.detail}" if one.reason.detail else "")
    yield f"package: {', '.join(one.packages) or 'none that records in the image name'}"
    yield from (f"wrong: {line}" for line in one.differs)


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
            yield f"trust: accepted; signed by {signers}{identity}{version}"
            builder = "not checked" if image.provenance is None else f"built by {image.provenance.builder}"
            yield f"provenance: {builder}"
        if result.unchecked:
            yield f"unchecked by the policy: {', '.join(result.unchecked)}"
    for one in attached:
        said = one["said"].get(PREDICATE, "")
        yield f"attached: {one['what']} ({one['count']}): {one['type']}{said and ', ' + said}"
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
    yield f"  identity: {_identity(plan['identity'])}"
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
        yield f"  {kind}{one.mode:04o} {one.size:>10} {one.path}{leads}  ({_reason(one)}){package}{wrong}"


def _reason(one: FileFacts) -> str:
    if one.path == "/shim/manifest.json":
        return "the manifest itself"
    if one.reason is None:
        return "not in the manifest"
    text = one.reason.rule + (f": {one.reason.detail}" if one.reason.detail else "")
    return text if len(text) <= _SHOWN_REASON else text[: _SHOWN_REASON - 1] + "…"


def _identity(given: Mapping[str, int] | None) -> str:
    return "who starts it" if given is None else f"uid {given['uid']}, gid {given['gid']}"


def _pairs(given: Mapping[str, object] | None) -> str:
    return ", ".join(f"{name} {given[name]}" for name in given if given[name]) if given else ""


def _digest(sha256: str) -> str:
    return f", sha256:{sha256}" if sha256 else ""


def _plain(text: str) -> str:
    """Return a line whose bytes cannot steer a terminal."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def echo(text: Iterator[str]) -> None:
    """Print lines; what stands in an image cannot steer a terminal."""
    for line in text:
        click.echo(_plain(line))
