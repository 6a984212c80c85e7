"""
Writing a layout in the place of one that stands there, whole or not at all.

The new directory is made beside the old one, and the two change their names in one step.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from images.layout.errors import LayoutOutputError
from images.layout.files import LAYOUT_FILE
from images.replacing import beside, exchange


def replace_layout(target: Path, files: Mapping[str, bytes]) -> None:
    """
    Put a directory with these files, by their names in it, in the place of the layout `target`.

    Raises:
        LayoutOutputError: `target` is no layout, or the new one cannot be written beside it; the old one
            still stands there then.
    """
    target = Path(os.path.realpath(target))
    if not (target / LAYOUT_FILE).is_file():
        raise LayoutOutputError(str(target), "no image layout", "one to replace")
    with _reported(target), beside(target) as new:
        new.mkdir()
        new.chmod(target.stat().st_mode & 0o7777)
        for name, data in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data)
        exchange(new, target)


@contextlib.contextmanager
def _reported(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LayoutOutputError(str(target), str(error.strerror or error), "a place to write to") from error
