"""
From which addresses may each call come?

The launcher can pin a call to the instructions that issue it, so that injected code cannot make even the
calls that the program may make.  Addresses are those of the files; the launcher adds where the kernel and the
loader put them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shim.profile.phases import rules_from
from shim.profile.profile import Profile, Site
from shim.syscalls import IMPLIED

# arch/x86/entry/vdso/vdso.lds.S, v6.12: what the vDSO offers, and may have to ask the kernel for.
VDSO_CALLS = frozenset({"clock_gettime", "clock_getres", "gettimeofday", "time", "getcpu", "getrandom"})
EXEC_CALLS = frozenset({"execve", "execveat"})
_RESTART = "restart_syscall"
SYSCALL_SIZE = 2


@dataclass(frozen=True, slots=True)
class Pin:
    """
    The places a call may come from: `sites`, and the vDSO's own code if `vdso`.

    The seccomp data has the address behind the instruction: each site's address plus `Pins.instruction_size`.
    """

    number: int
    name: str
    sites: tuple[Site, ...]
    vdso: bool


@dataclass(frozen=True, slots=True)
class Pins:
    """
    The pins of one phase, by number.

    `objects` are the paths of what has sites, the program first.  `unpinnable` says why the table cannot be
    complete, one line each: then no call may be pinned.
    """

    pins: tuple[Pin, ...]
    unpinnable: tuple[str, ...]
    objects: tuple[str, ...]
    instruction_size: int = SYSCALL_SIZE

    @property
    def pinnable(self) -> bool:
        """Whether every place is known."""
        return not self.unpinnable


def pins(profile: Profile, phase: int = 0, mapped: Sequence[str] = ()) -> Pins:
    """
    Return the places that each call of `profile.phases[phase]` and later ones may come from.

    `mapped` are the paths of shared objects whose addresses the launcher will know.  A restarted call arrives
    at the address of the call that was interrupted.  A call that the kernel implies
    but that no instruction issues has no place, and then nothing may make it.

    Raises:
        IndexError: the profile has no such phase.
    """
    rules = {rule.name: rule for rule in rules_from(profile, phase)}
    restarted: set[Site] = set()
    for implied in IMPLIED:
        if implied.name == _RESTART:
            for name in (implied.by or frozenset()) & rules.keys():
                restarted.update(rules[name].sites)
    found = [
        Pin(
            rule.number,
            rule.name,
            tuple(sorted({*rule.sites, *(restarted if rule.name == _RESTART else ())})),
            rule.name in VDSO_CALLS,
        )
        for rule in rules.values()
    ]
    objects = (profile.program.path, *mapped)
    return Pins(tuple(sorted(found, key=lambda pin: pin.number)), _unpinnable(profile, objects), objects)


def _unpinnable(profile: Profile, objects: Sequence[str]) -> tuple[str, ...]:
    reasons = [
        f"{place.function} at {place.address:#x} in {place.object}: {place.reason}"
        for place in (*profile.unresolved, *profile.foreign_abi)
    ]
    reasons += [line for line in profile.assumptions if line.startswith("declared-modules:")]
    execs = sorted(rule.name for rule in profile.phases[0].rules if rule.name in EXEC_CALLS)
    if execs:
        reasons.append(f"the program may execute another, whose code is elsewhere ({', '.join(execs)})")
    elsewhere = {
        site.object
        for phase in profile.phases
        for rule in phase.rules
        for site in rule.sites
        if site.object not in objects
    }
    reasons += [f"calls come from {path}, which is not mapped from the start" for path in sorted(elsewhere)]
    return tuple(reasons)
