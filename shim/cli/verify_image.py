"""`shim verify-image`: is an image whole, signed, new enough, and made as a policy wants it?"""

from __future__ import annotations

from pathlib import Path

import click

from shim.cli.arguments import FORMAT

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def _print_example(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's
    """Print the policy that explains every key."""
    if not value:
        return
    from importlib.resources import files

    click.echo((files("images.trust") / "policy.toml").read_text(), nl=False)
    context.exit()


@click.command("verify-image")
@click.argument(
    "layout_path", metavar="LAYOUT", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "--policy", "policy_path", metavar="FILE", required=True, type=_FILE, help="Which images are accepted."
)
@click.option(
    "--bundle",
    "bundle_paths",
    metavar="FILE",
    multiple=True,
    type=_FILE,
    help="A signature or provenance that is kept beside the layout: a bundle of sigstore; repeatable.",
)
@click.option("--record", is_flag=True, help="Remember the version in the policy's state, as shim run does.")
@click.option(
    "--example",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_example,
    help="Print a policy that explains every key.",
)
@FORMAT
def command(
    *, layout_path: Path, policy_path: Path, bundle_paths: tuple[Path, ...], record: bool, output: str
) -> None:
    """
    Verify LAYOUT, an OCI image layout, against a policy.

    Every blob is held against what names it, then signatures, version, provenance and SBOM against the
    policy.  Exit codes: 0 accepted; 2 usage, or a policy that cannot be used; 10 malformed or altered; 11 not
    signed as the policy asks; 16 rolled back; 17 identity, provenance or SBOM not as the policy wants them.
    When several apply, the first in this order; all are shown.
    """
    from images.trust.result import ImageRefusedError
    from shim.cli import image_output
    from shim.cli.trusting import remember, trusted

    try:
        found = trusted(layout_path, policy_path, bundle_paths)
    except ImageRefusedError as error:
        image_output.show(error.result, output)
        raise
    if record:
        remember(found, policy_path)
    image_output.show(found.result, output)
