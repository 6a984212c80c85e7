"""`shim sign`: say who vouches for an image, how new it is, and how it was made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from images.layout.graph import Index, Layout, Manifest
    from images.signature.keys import PrivateKey

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
MAX_PASSPHRASE = 4096


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
@click.option("--passphrase-fd", type=int, metavar="N", help="Read its passphrase from a file descriptor.")
@click.option("--passphrase-env", metavar="NAME", help="Take its passphrase from a variable.")
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

    key = _private_key(key_path, passphrase_fd, passphrase_env)
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


def _private_key(path: Path, passphrase_fd: int | None, passphrase_env: str | None) -> PrivateKey:
    from images.signature import keys
    from shim.cli.trusting import read_key_file

    if passphrase_fd is not None and passphrase_env is not None:
        raise click.UsageError("--passphrase-fd and --passphrase-env name two passphrases, want one")
    passphrase = None
    if passphrase_env is not None:
        if passphrase_env not in os.environ:
            raise click.BadParameter(
                f"found no variable {passphrase_env}, want one", param_hint="--passphrase-env"
            )
        passphrase = os.environb[os.fsencode(passphrase_env)]
    elif passphrase_fd is not None:
        passphrase = _from_descriptor(passphrase_fd)
    return keys.read_private(read_key_file(path), str(path), passphrase)


def _from_descriptor(number: int) -> bytes:
    """Return the first line of what a descriptor gives, without its end."""
    try:
        with os.fdopen(number, "rb", closefd=False) as file:
            line = file.readline(MAX_PASSPHRASE + 1)
    except OSError as error:
        raise click.BadParameter(
            f"found {error.strerror}, want an open descriptor", param_hint="--passphrase-fd"
        ) from error
    if len(line) > MAX_PASSPHRASE:
        raise click.BadParameter(
            f"found more than {MAX_PASSPHRASE} bytes, want fewer", param_hint="--passphrase-fd"
        )
    return line.removesuffix(b"\n")


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
    from images.signature.statement import Subject
    from shim.cli.trusting import read_document

    image = _chosen(layout, platform)
    found = [recognised(read_document(path, MAX_ATTACHMENT), str(path)) for path in paths]
    if builder is not None:
        build = provenance.build_of(
            _manifest(layout, image), builder, f"{layout.where}: /{provenance.MANIFEST}"
        )
        subject = Subject(image.descriptor.reference, image.descriptor.digest, {})
        said = provenance.write((subject,), build)
        found.append(signing.statement_attachment(said, provenance.PREDICATE_TYPE, key))
    if statement_path is not None:
        said = read_document(statement_path, MAX_ATTACHMENT)
        parsed = statement.parse(said, str(statement_path))
        statement.check_subject(parsed, image.descriptor.digest, str(statement_path))
        found.append(signing.statement_attachment(said, parsed.predicate_type, key))
    return signing.attached(layout, [(image.descriptor, one) for one in found])


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


def _manifest(layout: Layout, image: Manifest | Index) -> bytes:
    """Return the manifest that `shim build` put into an image."""
    from images import provenance
    from images.layout.graph import Manifest
    from images.layout.layers import archives
    from images.layout.unpack import file_in
    from images.signature.errors import SignatureFormatError

    data = None
    if isinstance(image, Manifest):
        data = file_in(archives(layout, image), provenance.MANIFEST, layout.where)
    if data is None:
        where = f"{layout.where}: /{provenance.MANIFEST}"
        raise SignatureFormatError(where, "no such file", "an image of shim build, or --provenance FILE")
    return data
