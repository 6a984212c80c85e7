"""What stands on a machine's console: kept, shown, and searched for the launcher's last word."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

_END = re.compile(rb"shim: exit code (\d{1,3})(?:: (.{1,200}))?")
_SEALED = b"shim: power off; how the program ended is sealed"
_OF_KERNEL = re.compile(rb"\[ *\d+\.\d+\] ")
_OURS = (b"shim: ", b'{"event":')
# What a line of ours may look like before there is enough of it to tell.
_BEGUN = re.compile(
    rb"\[[ \d.]*\]?|" + b"|".join(re.escape(one[:size]) for one in _OURS for size in range(1, len(one)))
)
_LONGEST = 4096  # of a line that is looked at whole
_KEPT = 200  # lines, for what is said when a machine does not come up


class Console:
    """
    One console.

    Args:
        show: Gets the text of the program (False) and lines of launcher or kernel (True), or nothing.
        keep: A file that gets every byte as it came, or None.

    Attributes:
        exit_code: The launcher's last word, None until it was said.
        reason: What it said behind that.
        is_sealed: Whether it said instead that only the relying party learns it.
    """

    def __init__(self, show: Callable[[bytes, bool], None] | None, keep: BinaryIO | None) -> None:
        self.exit_code: int | None = None
        self.reason = ""
        self.is_sealed = False
        self.has_said_anything = False
        self._show, self._keep = show, keep
        self._line = bytearray()
        self._shown = 0
        self._kept: deque[str] = deque(maxlen=_KEPT)

    def receive(self, data: bytes) -> None:
        """Take what the machine wrote."""
        self.has_said_anything = True
        if self._keep is not None:
            self._keep.write(data)
            self._keep.flush()
        self._line += data
        while (end := self._line.find(b"\n")) >= 0:
            self._whole(bytes(self._line[:end]).rstrip(b"\r"), self._shown)
            del self._line[: end + 1]
            self._shown = 0
        if len(self._line) > _LONGEST:
            self._part(bytes(self._line))

    def close(self) -> None:
        """Take what has no end of its line for a line."""
        if self._line:
            self._whole(bytes(self._line).rstrip(b"\r"), self._shown, end=b"")
            self._line.clear()

    def flush(self) -> None:
        """Show a line that has begun, unless it may become one of ours: a question waits for its answer."""
        line = bytes(self._line)
        if line and not (_BEGUN.fullmatch(line) or self._is_ours(line)):
            self._part(line)

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines, as text."""
        return tuple(self._kept)

    def said_by_launcher(self) -> tuple[str, ...]:
        """Return what the launcher said, but for its last word."""
        lasts = ("shim: exit code ", _SEALED.decode())
        return tuple(line for line in self._kept if line.startswith("shim: ") and not line.startswith(lasts))

    def _whole(self, line: bytes, shown: int, end: bytes = b"\n") -> None:
        self._kept.append(line[:_LONGEST].decode(errors="replace"))
        found = _END.fullmatch(line)
        if found is not None and int(found[1]) < 256:
            self.exit_code = int(found[1])
            self.reason = (found[2] or b"").decode(errors="replace")
        elif line == _SEALED:
            self.is_sealed = True
        elif self._show is not None:
            self._show(line[shown:] + end, self._is_ours(line))

    def _part(self, line: bytes) -> None:
        """Show what is there of a line; a carriage return at its end may belong to the end of the line."""
        text = line.rstrip(b"\r")
        if self._show is not None and len(text) > self._shown:
            self._show(text[self._shown :], self._is_ours(line))
            self._shown = len(text)
        if len(line) > _LONGEST:  # too long for one of ours: only what follows is still looked at
            self._line.clear()
            self._shown = 0

    def _is_ours(self, line: bytes) -> bool:
        return line.startswith(_OURS) or _OF_KERNEL.match(line) is not None
