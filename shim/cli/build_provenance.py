"""What `shim build` says of how it made an image: provenance, attached to a layout or in a file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli.signing_key import URI, passphrase_options, private_key

if TYPE_CHECKING:
    from images.image import Image
    from shim.cli.build_output import Packed


@dataclass(frozen=True, slots=True)
class ProvenanceOptions:
    """What the user says of provenance; the fields are the options of `provenance_options`."""

    builder: str | None
    provenance: Path | None
    key: Path | None
    passphrase_fd: int | None
    passphrase_env: str | None

    def check(self, form: str) -> None:
        """
        Refuse options that mean nothing together, or for a format.

        Raises:
            UsageError: there are such.
        """
        if self.builder is None and (self.provenance or self.key):
            raise click.UsageError("found --provenance or --key, want --builder URI beside it")
        if self.key is None and (self.passphrase_fd is not None or self.passphrase_env is not None):
            raise click.UsageError("found a passphrase, want --key FILE beside it")
        if self.builder is not None and form == "rootfs":
            raise click.UsageError("--format rootfs: found --builder, want a format that has a digest")
        if self.builder is not None and form != "oci" and self.provenance is None:
            raise click.UsageError(
                f"--format {form}: found --builder, want --provenance FILE, for nothing can be attached to it"
            )

    def applied(self, built: Image, packed: Packed) -> tuple[Packed, bytes | None]:
        """
        Return the image with its provenance attached, where it is a layout, and what goes into a file.

        Raises:
            SigningKeyError: a key that cannot be used.
            MissingLibraryError: what an extra brings is not installed.
        """
        from images import provenance
        from images.layout.graph import parse
        from images.layout_written import one_image
        from images.signature import signing

        if self.builder is None:
            return packed, None
        said = provenance.statement_of(built.manifest, packed.written, self.builder)
        attachment = signing.unsigned_statement(said, provenance.PREDICATE_TYPE)
        if self.key is not None:
            key = private_key(self.key, self.passphrase_fd, self.passphrase_env)
            attachment = signing.statement_attachment(said, provenance.PREDICATE_TYPE, key)
        if packed.written.form == "oci" and isinstance(packed.data, dict):
            layout = parse(packed.data, "the image")
            whole = signing.attached(layout, [(one_image(layout).descriptor, attachment)])
            packed = replace(packed, data=dict(whole.files))
        return packed, attachment.data


def provenance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of provenance, as `provenance`."""

    @click.option(
        "--builder",
        type=URI,
        metavar="URI",
        help="Say how it was made (SLSA provenance), by this builder: attached to an OCI image.",
    )
    @click.option(
        "--provenance",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write the provenance to a file, too.",
    )
    @click.option(
        "--key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Sign the provenance: an Ed25519 or P-256 key in PEM.",
    )
    @passphrase_options
    @functools.wraps(command)
    def with_provenance(*context: click.Context, **given: Any) -> Any:  # noqa: ANN401  # one type per option
        options = ProvenanceOptions(**{name: given.pop(name) for name in ProvenanceOptions.__slots__})
        return command(*context, provenance=options, **given)

    return with_provenance
