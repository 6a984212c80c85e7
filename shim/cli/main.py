"""
The command line: which commands there are, and how every error ends.

Commands are imported when they are called, so that `shim --help` starts neither the cryptography nor the
disassembler.  What a command does is in the module of its name.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from typing import Any

import click

import shim
from shim.errors import ShimError, one_line

EXIT_BROKEN_PIPE, EXIT_REFUSED = 141, 125
COMMANDS = {
    "profile": ("shim.cli.profile", "What may this program ask of the kernel?"),
    "explain": ("shim.cli.explain", "By which way does a program come to make a call?"),
    "diff": ("shim.cli.diff", "What may this program do that it could not do before?"),
    "plan": ("shim.cli.plan", "Write the launch plan that shim-launch reads."),
    "build": ("shim.cli.build", "Make the smallest image that runs a program."),
    "rebuild": ("shim.cli.rebuild", "Repeat a build from what it recorded: what differs?"),
    "index": ("shim.cli.index", "Join the images of several platforms under one name."),
    "outdated": ("shim.cli.outdated", "Are there newer versions of what is in an image?"),
    "run": ("shim.cli.run", "Appraise this machine, then run a program under its profile."),
    "boot": ("shim.cli.boot", "Boot an image in a machine, appraise it, run its program."),
    "sign": ("shim.cli.sign", "Sign an image: who vouches for it, how new it is, how it was made."),
    "verify-image": (
        "shim.cli.verify_image",
        "Is an image whole, signed, new enough, made as a policy wants it?",
    ),
    "trace": ("shim.cli.trace", "Run a program, record its calls, compare them with its profile."),
    "serve": ("shim.cli.serve", "Appraise machines, and release to them what they may have."),
    "attest": ("shim.cli.attest", "Collect evidence about this machine, to be verified elsewhere."),
    "inspect": ("shim.cli.inspect", "Is this evidence authentic, and what does it claim?"),
    "verify": ("shim.cli.verify", "Appraise evidence against a policy."),
    "policy": ("shim.cli.policy", "A policy to start with; can one be used; what may stand in it?"),
    "reference-values": ("shim.cli.reference_values", "Which measurements do these files vouch for?"),
    "fetch": ("shim.cli.fetch", "Fetch what AMD and Intel say of machines, before it is needed."),
    "measure": ("shim.cli.measure", "What will hardware say that it measured, when this is booted?"),
    "debug": ("shim.cli.debug", "What is in this image, what is this process doing? Seen from outside."),
    "doctor": ("shim.cli.doctor", "What does this machine offer, and what is missing?"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed, and listed without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the work."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None for a name that does not exist."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table above."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(shim.__version__, prog_name="shim")
def cli() -> None:
    """
    From a program's machine code to a confidential VM in which it may do nothing else.

    Exit codes: 0 yes, 1 the check said no, 2 usage, 3 incomplete profile; `verify` and `verify-image` 10 to
    17 by the kind of refusal; `run` as the program, 128+n for signal n, 125 refused before the start, 126
    cannot execute, 127 not found.
    """


def main(arguments: list[str] | None = None) -> None:
    """
    Run one command and end the process with its exit code.

    An analysis makes a million objects that live to the end: looking for cycles among them took a quarter of
    its time, and taking them apart one by one before the exit another seventh.
    """
    gc.disable()
    code = run(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # it is None where the descriptor was closed from the start
                stream.flush()
        except (OSError, ValueError):
            code = code or EXIT_BROKEN_PIPE
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; every error that is raised on purpose becomes one line."""
    # A launch answers as env and docker do: what is refused before the start is 125, usage included.
    launching = arguments[:1] in (["run"], ["boot"])
    try:
        result: Any = cli.main(arguments, prog_name="shim", standalone_mode=False)
    except ShimError as error:
        for line in str(error).splitlines() if hasattr(error, "problems") else [str(error)]:
            say(line)
        for note in getattr(error, "__notes__", ()):
            say(note)
        return int(getattr(error, "exit_code", 1))
    except click.exceptions.NoArgsIsHelpError as error:
        with contextlib.suppress(OSError):
            click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        say(error.format_message().replace(":\n\t", ": ").replace(",\n\t", ", "))  # lists of choices
        return EXIT_REFUSED if launching else error.exit_code
    except click.Abort:
        return 130
    except BrokenPipeError:
        return EXIT_BROKEN_PIPE
    except OSError as error:
        say(f"{error.filename or 'output'}: found {error.strerror}, want it readable and writable")
        return EXIT_REFUSED if launching else 1
    return result if isinstance(result, int) else 0


def say(text: str) -> None:
    """Write one line to standard error; where that is closed or full there is nobody to tell."""
    with contextlib.suppress(OSError):
        click.echo(f"shim: {one_line(text)}", err=True)
