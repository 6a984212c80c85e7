"""`shim doctor`: what does this machine offer, what is missing, and what would it enable?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from attestation.guest import Guest

REQUIRED, OPTIONAL = "required", "optional"
# Program, Debian package, and what it is for.
TOOLS = (
    ("musl-gcc", "musl-tools", "building shim-launch, which needs no Python"),
    ("qemu-system-x86_64", "qemu-system-x86", "booting images where there is no confidential host"),
    ("swtpm", "swtpm", "a TPM for such a boot"),
    ("runc", "runc", "running images as containers"),
    ("skopeo", "skopeo", "moving images to and from registries"),
    ("diffoscope", "diffoscope", "explaining why two builds differ"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a machine has or lacks; `need` says whether `shim run` depends on it."""

    subject: str
    present: bool
    found: str
    need: str
    enables: str


@click.command("doctor", short_help="What does this machine offer, and what is missing?")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(*, form: str) -> int:
    """
    Say what this machine offers to a launch, to attestation and to building images.

    Exits with 1 if something is missing without which `shim run` cannot launch anything.
    """
    from shim.cli.guest import entry_name, guest

    found = [
        *launch_findings(),
        *attestation_findings(guest(), entry_name()),
        *tool_findings(shutil.which),
    ]
    if form == "json":
        rows = [
            {
                "subject": f.subject,
                "present": f.present,
                "found": f.found,
                "need": f.need,
                "enables": f.enables,
            }
            for f in found
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(render(found), nl=False)
    return 1 if any(finding.need == REQUIRED and not finding.present for finding in found) else 0


def launch_findings() -> Iterator[Finding]:
    """Yield what the kernel and the processor offer to the launcher."""
    from shim.launch.probe import Unknown, probe

    facts = probe()
    yield Finding("kernel", True, facts.kernel, REQUIRED, "5.19 or later")
    actions = facts.seccomp_actions
    if isinstance(actions, Unknown):
        yield Finding("seccomp actions", False, actions.reason, REQUIRED, "filters")
    else:
        yield Finding("seccomp actions", True, " ".join(actions), REQUIRED, "filters")
    rows: tuple[tuple[str, int | Unknown, str, str, Callable[[int], str]], ...] = (
        (
            "user notification",
            facts.user_notification,
            REQUIRED,
            "refused calls are reported",
            lambda _: "yes",
        ),
        (
            "killable waits",
            facts.wait_killable,
            REQUIRED,
            "a reported call waits undisturbed (5.19)",
            lambda _: "yes",
        ),
        ("pidfd_getfd", facts.pidfd_getfd, REQUIRED, "the launcher takes the listener", lambda _: "yes"),
        ("tracing a child", facts.trace_child, REQUIRED, "held at the first instruction", lambda _: "yes"),
        ("own listener", facts.listener, REQUIRED, "but for --no-events", lambda _: "yes"),
        ("ptrace scope", facts.ptrace_scope, REQUIRED, "0 or 1: 2 and 3 forbid the hold", str),
        ("Landlock ABI", facts.landlock_abi, OPTIONAL, "files and ports by rule", str),
        ("MDWE", facts.mdwe, OPTIONAL, "no memory that is writable and executable (6.3)", lambda _: "yes"),
        ("mseal", facts.mseal, OPTIONAL, "mappings that stay as they are (6.10)", lambda _: "yes"),
        (
            "SHA instructions",
            facts.sha_cpu,
            OPTIONAL,
            "measuring 2 MB in 1 ms instead of 6",
            lambda on: "yes" if on else "no",
        ),
    )
    for subject, value, need, enables, word in rows:
        if isinstance(value, Unknown):
            yield Finding(subject, False, value.reason, need, enables)
        else:
            usable = value < 2 if subject == "ptrace scope" else value > 0 or subject == "MDWE"
            yield Finding(subject, usable, word(value), need, enables)


def attestation_findings(machine: Guest, entry: str) -> Iterator[Finding]:
    """Yield whether this machine can say anything about itself, and by what."""
    from attestation import tsm
    from attestation.collect import detect
    from attestation.errors import CollectError
    from attestation.eventlog.collect import CCEL, TPM_LOG
    from attestation.intel import collect as intel
    from attestation.nitro import collect as nitro
    from attestation.snp import collect as snp
    from attestation.tpm import collect as tpm

    enables = "evidence from the hardware; without it only --tee simulated"
    try:
        yield Finding("TEE", True, detect(machine, entry), OPTIONAL, enables)
    except CollectError as error:
        yield Finding("TEE", False, f"{error.found}; want {error.want}", OPTIONAL, enables)
    enables = "reports of SEV-SNP, TDX and Arm CCA (6.7)"
    try:
        yield Finding("configfs-tsm", True, tsm.provider(machine, entry), OPTIONAL, enables)
    except CollectError as error:
        yield Finding("configfs-tsm", False, error.found, OPTIONAL, enables)
    places = (
        (snp.DEVICE, "reports of SEV-SNP without configfs-tsm"),
        (intel.DEVICE, "quotes of TDX by the host's quoting service"),
        (tpm.DEVICE, "quotes of a TPM; on Azure the evidence"),
        (nitro.DEVICE, "documents of AWS Nitro Enclaves"),
        (CCEL, "the log that explains the registers of TDX"),
        (TPM_LOG, "the log that explains the registers of a TPM"),
    )
    for place, enables in places:
        present = machine.exists(place)
        yield Finding(f"/{place}", present, "yes" if present else "no", OPTIONAL, enables)


def tool_findings(which: Callable[[str], str | None]) -> Iterator[Finding]:
    """Yield the programs that some commands use."""
    for name, package, enables in TOOLS:
        place = which(name)
        yield Finding(
            name, place is not None, place or f"not installed: apt install {package}", OPTIONAL, enables
        )


def render(findings: list[Finding]) -> str:
    """Return the findings as a table, what is missing marked."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "what", "found", "for"):
        shown.add_column(heading, overflow="fold")
    for finding in findings:
        mark = "ok" if finding.present else "MISSING" if finding.need == REQUIRED else "-"
        shown.add_row(mark, finding.subject, finding.found, finding.enables)
    console = Console(width=118, highlight=False)
    with console.capture() as captured:
        console.print(shown)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
