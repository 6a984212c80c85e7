"""On a terminal, a line that says what a long derivation is at; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shim.progress import in_silence

if TYPE_CHECKING:
    from rich.status import Status


@contextmanager
def stages_of(program: str) -> Iterator[Callable[[str], None]]:
    """
    Yield what shows the stage that begins until the next does, on standard error if that is a terminal.

    The line is gone when the context ends.
    """
    if not sys.stderr.isatty():
        yield in_silence
        return
    shown: list[Status] = []

    def show(stage: str) -> None:
        from rich.console import Console
        from rich.markup import escape

        text = f"{escape(Path(program).name)}: {stage}"
        if shown:
            shown[0].update(text)
        else:
            shown.append(Console(stderr=True).status(text))
            shown[0].start()

    try:
        yield show
    finally:
        for status in shown:
            status.stop()
