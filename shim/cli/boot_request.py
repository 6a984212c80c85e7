"""What the user asks of `shim boot`, and what of it means nothing together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from shim.cli.main import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asks for; the fields are the options of `shim boot`."""

    image: Path
    arguments: tuple[str, ...]
    kernel: Path | None
    cmdline: str
    image_policy: Path | None
    image_bundle: tuple[Path, ...]
    by: str | None
    firmware: Path | None
    vcpu_type: str
    id_key: Path | None
    author_key: Path | None
    memory: int
    cpus: int
    timeout: float | None
    console: Path | None
    events: Path | None
    publish: tuple[str, ...]
    secret: Path | None
    key: Path | None
    policy: Path | None
    reference_values: Path | None
    endorsement_paths: tuple[Path, ...]
    url: str | None
    tpm: bool
    keep: Path | None
    qemu: str
    dry_run: bool
    quiet: bool

    def check(self) -> None:
        """
        Refuse options that mean nothing together.

        Raises:
            UsageError: there are such.
        """
        if self.author_key is not None and self.id_key is None:
            raise click.UsageError("found --author-key, want --id-key FILE beside it")
        own = {"--secret": self.secret, "--key": self.key, "--policy": self.policy, "--keep": self.keep}
        given = [name for name, value in own.items() if value is not None]
        if self.url is not None and (given or self.arguments):
            named = ", ".join((*given, *(("arguments",) if self.arguments else ())))
            raise click.UsageError(f"found {named} beside --url, want none: the relying party has its own")
        if self.url is not None and self.tpm:
            want = "one: only who runs this boot knows the authority that is made for its TPM"
            raise click.UsageError(f"found --tpm beside --url, want {want}")
        if self.policy is not None and self.reference_values is not None:
            raise click.UsageError(
                "found --policy and --reference-values, want one: what says what is expected?"
            )

    def tell(self, line: str) -> None:
        """Say a line that is no fault."""
        if not self.quiet:
            say(line)
