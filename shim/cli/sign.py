"""`shim sign`: say who vouches for an image, how new it is, and how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.signing_key import URI, passphrase_options, private_key

if TYPE_CHECKING:
    from images.layout.graph import Index, Layout, Manifest
    from images.signature.keys import PrivateKey

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("sign")
@click.argument(
    "layout_path", metavar="LAYOUT", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "--key",
    "key_path",
    metavar="FILE",
    required=True,
    type=_FILE,
    help="Who signs: an Ed25519 or P-256 key in PEM, PKCS #8.",
)
@passphrase_options
@click.option(
    "--identity",
    default="",
    metavar="NAME",
    help="The name that the image goes by, such as registry.example/app.",
)
@click.option(
    "--version",
    "number",
    type=click.IntRange(0, (1 << 53) - 1),
    metavar="N",
    help="Its number, which grows with each release.",
)
@click.option(
    "--attach",
    "attach_paths",
    metavar="FILE",
    multiple=True,
    type=_FILE,
    help="Attach an SBOM (SPDX, CycloneDX), OpenVEX or a bundle of sigstore; repeatable.",
)
@click.option(
    "--builder",
    type=URI,
    metavar="URI",
    help="Attach provenance by this builder, from the manifest that shim build put into the image.",
)
@click.option(
    "--provenance",
    "statement_path",
    metavar="FILE",
    type=_FILE,
    help="Sign this statement (in-toto) and attach it.",
)
@click.option(
    "--platform", metavar="OS/ARCH", help="The image that these belong to, where there are several."
)
@click.option(
    "--bundle", metavar="FILE", help="Write a signature to be kept elsewhere as well: a bundle of sigstore."
)
def command(  # noqa: PLR0913  # one parameter per option
    *,
    layout_path: Path,
    key_path: Path,
    passphrase_fd: int | None,
    passphrase_env: str | None,
    identity: str,
    number: int | None,
    attach_paths: tuple[Path, ...],
    builder: str | None,
    statement_path: Path | None,
    platform: str | None,
    bundle: str | None,
) -> None:
    """
    Sign the images in LAYOUT, an OCI image layout, in place and whole or not at all.

    The signature is stored as cosign stores it, and covers all that is in the layout.  What is attached is
    attached before.  Exit codes: 0 signed; 1 it cannot be written; 2 usage, or a key that cannot be used; 10
    a layout or a document that is malformed.
    """
    from images.layout import contents, files, graph, writing
    from images.signature import signing
    from shim.cli.files import write_output

    key = private_key(key_path, passphrase_fd, passphrase_env)
    layout = graph.parse(files.read_files(layout_path), str(layout_path))
    if attach_paths or builder or statement_path:
        layout = _attached(layout, key, attach_paths, builder, statement_path, platform)
    signer = signing.Signing(key, identity, number)
    result = signing.signed(layout, signer)
    writing.replace_layout(layout_path, result.files)
    if bundle is not None:
        write_output(bundle, signing.detached(result, signer))
    for image in contents.contents_of(result).images:
        version = "" if number is None else f" version {number}"
        named = f" as {identity}" if identity else ""
        click.echo(f"sha256:{image.descriptor.digest} signed{named}{version} by {key.public.identifier}")


def _attached(  # what may be attached
    layout: Layout,
    key: PrivateKey,
    paths: tuple[Path, ...],
    builder: str | None,
    statement_path: Path | None,
    platform: str | None,
) -> Layout:
    from images import provenance
    from images.signature import signing, statement
    from images.signature.attachments import MAX_ATTACHMENT, recognised
    from shim.cli.trusting import read_document

    image = _chosen(layout, platform)
    found = [recognised(read_document(path, MAX_ATTACHMENT), str(path)) for path in paths]
    instead: frozenset[str] = frozenset()
    if builder is not None:
        said = _provenance(layout, image, builder)
        found.append(signing.statement_attachment(said, provenance.PREDICATE_TYPE, key))
        instead = signing.unsigned_in(layout, image.descriptor, said)
    if statement_path is not None:
        said = read_document(statement_path, MAX_ATTACHMENT)
        parsed = statement.parse(said, str(statement_path))
        statement.check_subject(parsed, image.descriptor.digest, str(statement_path))
        found.append(signing.statement_attachment(said, parsed.predicate_type, key))
    return signing.attached(layout, [(image.descriptor, one) for one in found], instead)


def _chosen(layout: Layout, platform: str | None) -> Manifest | Index:
    """Return the image that something is attached to."""
    from images.layout import contents
    from images.layout.graph import Manifest
    from images.layout.layers import platform_of

    images = contents.contents_of(layout).images
    named = {
        platform_of(layout, image) if isinstance(image, Manifest) else "index": image for image in images
    }
    if platform is None and len(images) == 1:
        return images[0]
    if platform is None or platform not in named:
        raise click.BadParameter(
            f"found {platform or 'none'}, want one of {', '.join(sorted(named))}", param_hint="--platform"
        )
    return named[platform]


def _provenance(layout: Layout, image: Manifest | Index, builder: str) -> bytes:
    """Return how an image was made, as the manifest that `shim build` put into it says."""
    from images import manifest as manifests, provenance
    from images.image import MANIFEST
    from images.layout.graph import Manifest
    from images.layout.layers import archives
    from images.layout.unpack import file_in
    from images.layout_written import written_in
    from images.signature.errors import SignatureFormatError

    data, where = None, f"{layout.where}: {MANIFEST}"
    if isinstance(image, Manifest):
        data = file_in(archives(layout, image), MANIFEST[1:], layout.where)
    if data is None or not isinstance(image, Manifest):
        raise SignatureFormatError(where, "no such file", "an image of shim build, or --provenance FILE")
    manifest = manifests.loads(data, where)
    return provenance.statement_of(manifest, written_in(layout, image), builder)
