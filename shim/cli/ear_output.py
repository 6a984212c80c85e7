"""Where does the signed form of a result go?  The options of `shim verify` for a token, and its writing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

import shim

if TYPE_CHECKING:
    from attestation.ear_token import SigningKey
    from attestation.result import AttestationResult

F = TypeVar("F", bound=Callable[..., object])
_DEVELOPER = "tee-shim"
_OPTIONS = (
    click.option(
        "--ear", "ear_path", metavar="FILE", help="Write the outcome as a signed token, also of a refusal."
    ),
    click.option(
        "--ear-key",
        "ear_key_path",
        metavar="FILE",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="The key that signs it: P-256, P-384 or Ed25519, PEM.",
    ),
    click.option(
        "--ear-profile",
        type=click.Choice(["veraison", "trustee", "ietf"]),
        default="veraison",
        show_default=True,
        help="How its claims are spelled.",
    ),
    click.option(
        "--ear-lifetime",
        type=click.IntRange(1, 366 * 24 * 3600),
        default=300,
        show_default=True,
        metavar="SECONDS",
        help="How long it counts, from the time of the appraisal.",
    ),
)


def ear_options(command: F) -> F:
    """Add the options for a token to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def signing_key(ear_path: str | None, key_path: Path | None) -> SigningKey | None:
    """
    Return the key for a token, or None where no token is wanted.

    Raises:
        click.UsageError: one of the two options without the other.
        SigningKeyError: no token can be signed with the key.
    """
    if (ear_path is None) != (key_path is None):
        raise click.UsageError("--ear and --ear-key belong together")
    if key_path is None:
        return None
    from attestation.ear_token import load_key
    from attestation.files import read_limited

    return load_key(read_limited(key_path, "key"), str(key_path))


def write_token(  # noqa: PLR0913  # what a token is made of
    result: AttestationResult,
    key: SigningKey,
    path: str,
    *,
    profile: str,
    lifetime: int,
    nonce: bytes | None,
    at: datetime,
) -> None:
    """
    Write the token of a result to a file; "-" is standard output.

    It counts from the time that was judged at: what was accepted as of long ago is no news of today.

    Raises:
        SigningKeyError: joserfc is not installed.
        UnwritableFileError: the file cannot be written.
    """
    from attestation import ear, ear_token
    from shim.cli.files import write_output

    claims = ear.claims(
        result,
        verifier=ear.VerifierId(_DEVELOPER, f"tee-shim {shim.__version__}"),
        issued_at=at,
        lifetime=timedelta(seconds=lifetime),
        nonce=nonce,
        profile=ear.PROFILES[profile],
    )
    write_output(path, ear_token.sign(claims, key).encode("ascii") + b"\n")
