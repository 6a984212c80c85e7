"""What has to be there, by names in lists or one by one."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from shim.cli.launching import LaunchOptions, launch_options


@click.command()
@launch_options
def command(*, program: str, arguments: tuple[str, ...], options: LaunchOptions) -> None:
    click.echo(" ".join((*options.require, program, *arguments)))


def said(*words: str) -> click.testing.Result:
    return CliRunner().invoke(command, [*words, "--", "program"])


@pytest.mark.parametrize(
    "words",
    [
        ("--require", "mdwe,mseal"),
        ("--require", "mdwe", "--require", "mseal"),
        ("--require", "mdwe,mseal,mdwe", "--require", "mseal"),
    ],
)
def test_names_are_taken_one_by_one_and_in_lists(words: tuple[str, ...]) -> None:
    assert said(*words).output == "mdwe mseal program\n"
    assert said().output == "program\n"


@pytest.mark.parametrize("text", ["", ",", "mdwe,", "mdwe,x", "mdwe;mseal", "MDWE", "mdwe, mseal"])
def test_what_is_no_list_of_names(text: str) -> None:
    done = said("--require", text)
    assert done.exit_code == 2
    assert "is not one of 'mdwe', 'mseal', 'landlock'" in done.output
