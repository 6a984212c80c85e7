"""
How does systemd enforce a profile?

A drop-in for a service: `/etc/systemd/system/NAME.service.d/syscalls.conf`.  The lists are reset first, so
that the drop-in is the whole truth.

    allowed calls                          SystemCallFilter=
    known to the table, not allowed        SystemCallFilter=~NAME:kill, which kills the process
    everything else                        SystemCallErrorNumber=ENOSYS, so that a newer libc falls back
    other architectures, x32               SystemCallArchitectures=native, which kills

An entry of an allow list with an error of its own is kept as a rule for that call; systemd 252 was seen to
do so, and what a manager installed was read back and compared.  Also killed in this way are the calls that
systemd would allow by itself (@default), but for those that it needs between installing the filter and the
program's first instruction: `execve`, `execveat` (which it tries first if built so, and falls back from
ENOSYS) and `write` (Type=exec and newer managers tell of the hand-over).

What the format cannot say, and what happens instead:

- phases: one filter for the whole life, the union of all phases;
- conditions on arguments: the call is allowed with any, and the drop-in says so in a comment;
- a name that the installed libseccomp does not know: systemd warns and skips it.  If it was to be killed, it
  gets ENOSYS; if it was to be allowed, too.

Source: systemd.exec(5), systemd 252, "System call filtering"; src/shared/seccomp-util.c,
seccomp_parse_syscall_filter and seccomp_load_syscall_filter_set_raw.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from shim.profile.export.comments import header_lines
from shim.profile.export.rules import exported_rules, refused_names
from shim.profile.profile import Profile
from shim.syscalls import table

HAND_OVER = ("execve", "write")
"""What systemd itself calls under the filter, before the program's first instruction."""

_NEVER_KILLED = frozenset({"execve", "execveat", "write"})
_WIDTH = 100


def systemd(profile: Profile) -> str:
    """
    Return the drop-in; equal profiles give equal text.

    Not checked:
        That the profile is complete: ask `profile.complete` first.
    """
    rules = exported_rules(profile)
    names = {rule.name for rule in rules}
    added = [name for name in HAND_OVER if name not in names]
    killed = [name for name in refused_names(rules, table(profile.arch)) if name not in _NEVER_KILLED]
    widened = [rule.name for rule in rules if rule.conditions]
    comments = [
        *header_lines(profile),
        *([f"Needed by systemd to start the program: {', '.join(added)}."] if added else []),
        *([f"Allowed with any arguments, the profile is narrower: {', '.join(widened)}."] if widened else []),
    ]
    lines = [part for line in comments for part in textwrap.wrap(line, _WIDTH, initial_indent="# ", subsequent_indent="#   ")]  # noqa: E501  # fmt: skip
    lines += ["[Service]", "SystemCallArchitectures=", "SystemCallArchitectures=native", "SystemCallFilter="]
    lines += _assignments("", sorted({*names, *added}))
    lines += _assignments("~", [f"{name}:kill" for name in sorted(killed)])
    lines += ["SystemCallErrorNumber=ENOSYS"]
    return "\n".join(lines) + "\n"


def _assignments(sign: str, words: Iterable[str]) -> list[str]:
    """Return assignments of moderate length: several of one setting add up."""
    return [f"SystemCallFilter={sign}{line}" for line in textwrap.wrap(" ".join(words), _WIDTH, break_on_hyphens=False)]  # noqa: E501  # fmt: skip
