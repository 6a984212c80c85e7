"""`shim rebuild IMAGE`: the same build once more, from what is there now; is it the same image?"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.cli.build_provenance import ProvenanceOptions, provenance_options
from shim.cli.build_sbom import SaidOptions, said_options, warnings
from shim.cli.main import say
from shim.errors import IncompleteProfileError, ShimError

if TYPE_CHECKING:
    from images.image import Image
    from images.recorded import Recorded
    from images.records import Said
    from shim.cli.build_output import Output, Packed
    from shim.cli.build_products import Products
    from shim.cli.build_steps import Build

EXIT_DIFFERS, EXIT_IMPOSSIBLE = 1, 2
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


class CannotRebuildError(click.ClickException):
    """What makes it impossible to build again."""

    exit_code = EXIT_IMPOSSIBLE


@click.command("rebuild")
@click.argument("path", metavar="IMAGE", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", metavar="PATH", help="Write the new image; nothing is written otherwise.")
@click.option("--json", "as_json", is_flag=True, help="Print what differs as JSON.")
@click.option("--kernel", type=_FILE, metavar="FILE", help="Boot this kernel, not the one that was named.")
@click.option("--stub", type=_FILE, metavar="FILE", help="Use this EFI stub.")
@click.option("--firmware", type=_FILE, metavar="FILE", help="Measure with this firmware.")
@click.option(
    "--sbom",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="With -o: write the documents of the new image there, if the first build made some.",
)
@click.option(
    "--vulns",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="With --sbom: OSV records; OpenVEX says what they mean for the new image; repeatable.",
)
@click.option(
    "--reference-values",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With -o: write what hardware will say of the new image.",
)
@click.option(
    "--buildinfo",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With -o: write what the next rebuild needs.",
)
@provenance_options
@said_options
def command(  # noqa: PLR0913  # one parameter for each option
    *,
    path: Path,
    output: str | None,
    as_json: bool,
    kernel: Path | None,
    stub: Path | None,
    firmware: Path | None,
    sbom: Path | None,
    vulns: tuple[Path, ...],
    reference_values: Path | None,
    buildinfo: Path | None,
    provenance: ProvenanceOptions,
    said: SaidOptions,
) -> int:
    """
    Repeat the build of IMAGE with what is there now, and say in what the result differs.

    IMAGE is an OCI layout, the directory of an image, its manifest, or what `shim build --buildinfo` wrote.
    Files that were named by relative paths are looked for from here.

    Exit codes: 0 the same bytes; 1 it differs; 2 it cannot be repeated: an input is gone, or the manifest is
    not one that is understood; 3 the profile is incomplete now.
    """
    from shim.cli.build import interrupted
    from shim.cli.build_output import records_of
    from shim.cli.build_products import Products
    from shim.cli.rebuild_report import report

    if output is None and (sbom or reference_values or buildinfo or provenance.builder):
        want = "-o PATH beside --sbom, --reference-values, --buildinfo and --builder"
        raise click.UsageError(f"found no place to write to, want {want}")
    provenance.check("oci")  # what no format allows; the format itself is not known yet
    if vulns and sbom is None:
        raise click.UsageError("found --vulns, want --sbom DIR beside it")
    about = said.said(documented=sbom is not None)
    signal.signal(signal.SIGTERM, interrupted)
    named = {"kernel": kernel, "stub": stub, "firmware": firmware}
    try:
        again = Again(path, {name: value for name, value in named.items() if value is not None})
        text, same = report(again, as_json=as_json)
        if output is not None:
            products = Products(sbom, reference_values, buildinfo, provenance)
            for line in again.write(products, Path(output), about, records_of(vulns)):
                say(line)
    except IncompleteProfileError as error:
        from shim.cli.build import incomplete

        return incomplete(error, f"{path}: the image is not built again: what it may call is not known")
    except (ShimError, OSError) as error:
        raise CannotRebuildError(_words(error)) from error
    click.echo(text)
    return 0 if same else EXIT_DIFFERS


def _words(error: ShimError | OSError) -> str:
    if isinstance(error, ShimError):
        return "\n".join((str(error), *getattr(error, "__notes__", ())))
    return f"{error.filename}: found {error.strerror}, want it readable and writable"


class Again:
    """
    A build that is repeated.

    Attributes:
        before: What was recorded of the first.
        build: The second, with its profile.
        image: What it came to.
        packed: The same in the format of the first; None where nobody knows that.
    """

    def __init__(self, path: Path, boot: dict[str, Path]) -> None:
        import shim
        from images.errors import ManifestError
        from images.image import MAX_TIME
        from images.recorded import recorded
        from shim.cli.build_request import asked_again

        self.before: Recorded = recorded(path)
        manifest = self.before.info.manifest
        if manifest.tool_version != shim.__version__:
            ours = f"this is {shim.__version__}, and a difference may come from that"
            say(f"{path}: made by tee-shim {manifest.tool_version}; {ours}")
        if manifest.created > MAX_TIME:
            want = f"seconds since 1970, at most {MAX_TIME}"
            raise ManifestError(f"{path}: created", str(manifest.created), want)
        asked = asked_again(manifest.command, str(path))
        try:
            written = _output(self.before, boot)
            self.build: Build = asked.build(None if written is None else written.boot.kernel)
            self.image: Image = self.build.image(
                manifest.given, asked.arguments, manifest.created, manifest.request
            )
            self.packed: Packed | None = None if written is None else written.packed(self.image)
        except (IncompleteProfileError, CannotRebuildError):
            raise
        except (ShimError, click.ClickException) as error:
            text = error.format_message() if isinstance(error, click.ClickException) else str(error)
            raise CannotRebuildError(f"{path}: cannot be built again: {text}") from error
        self._scannable = asked.scannable

    def write(self, products: Products, target: Path, said: Said, records: Mapping[str, bytes]) -> list[str]:
        """
        Write the new image, in the format of the first or as an OCI layout, and return what is said of it.

        Raises:
            OutputError: it cannot be written.
            UsageError: documents of a build that made none.
        """
        from images.compress import Compression
        from images.oci import RuntimeSettings
        from shim.cli.build_boot import BootOptions
        from shim.cli.build_output import Output

        if products.sbom is not None and not self._scannable:
            raise click.UsageError(f"{self.before.where}: found a build without --sbom, want one with it")
        packed = self.packed
        if packed is None:
            say(f"{self.before.where}: says nothing of a format: an OCI layout is written")
            plain = BootOptions(None, None, "", None, None, ())
            packed = Output("oci", Compression.GZIP, None, RuntimeSettings(), "latest", plain).packed(
                self.image
            )
        products.provenance.check(packed.written.form)
        documents = None if products.sbom is None else self.build.documents(self.image, records, said)
        lines = list(products.write(self.image, packed, target, documents))
        return [*lines, *warnings(() if documents is None else documents.missing)]


def _output(before: Recorded, boot: dict[str, Path]) -> Output | None:
    """
    Return the format of the first image, with other files to boot from where the user names some.

    Raises:
        UsageError: it does not boot.
    """
    from images.compress import Compression
    from images.oci import RuntimeSettings
    from shim.cli.build_boot import BootOptions
    from shim.cli.build_output import Output

    written = before.info.written
    named = {one.name: Path(one.path) for one in (written.boot if written is not None else ()) if one.named}
    known = {one.name for one in (written.boot if written is not None else ())}
    for name in boot:
        if name not in known:
            raise click.UsageError(f"found --{name}, want none: the first image was made without one")
    if written is None:
        return None
    files = named | boot
    for name, place in files.items():
        if not place.is_file():
            want = f"the file that was named; --{name} FILE names another"
            raise CannotRebuildError(f"{before.where}: {name}: found No such file as {place}, want {want}")
    options = BootOptions(
        files.get("kernel"), files.get("stub"), written.cmdline, None, files.get("firmware"), written.snp
    )
    settings = RuntimeSettings(written.labels, written.user)
    return Output(
        written.form, Compression(written.compression), written.level, settings, written.tag, options
    )
