"""
What may an image ask of the kernel, seen from the container runtime around it?

Inside, the launcher puts the program under its own filter.  A runtime's filter is there before the launcher,
holds for both, and can only take away: it has to let through what the launcher calls itself, what it has the
held program call, and what the plan allows the program.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from shim.errors import PlanFormatError
from shim.filter import FilterProgram
from shim.filter.actions import TRACE, USER_NOTIF
from shim.filter.reading import let_through
from shim.launch.plan import LaunchPlan, PlanFlag
from shim.profile.phases import rules_from, union
from shim.profile.profile import AnalysedObject, Phase, Profile, SyscallRule
from shim.syscalls import SyscallTable, table

INJECTED: Final = ("close", "getpid", "mmap", "mseal", "munmap", "prctl", "rt_sigpending", "seccomp")
"""
What the held program calls because the launcher has it do so: native/inject.c and native/stage.c.

No code of the launcher issues these calls, so that its own profile need not have them.
"""

_REFUSED: Final = frozenset({USER_NOTIF, TRACE})


@dataclass(frozen=True, slots=True)
class Outer:
    """
    What a runtime's filter has to allow around an image.

    Attributes:
        profile: All of it, as the profile of the launcher: its one phase is that of everything inside.
        launcher: Numbers of the calls that the launcher makes, or has the held program make.
        program: Numbers of those that the plan allows the program.
    """

    profile: Profile
    launcher: frozenset[int]
    program: frozenset[int]


def outer(launcher: Profile, plan: LaunchPlan) -> Outer:
    """
    Return the profile of the launcher together with the program that it launches.

    Args:
        launcher: The launcher's own, derived from its machine code.
        plan: What it launches; its filters are read back, never narrower than they are.

    Raises:
        FilterError: a filter that the kernel would not take.
        PlanFormatError: a plan that makes the calls which its filter refuses, so that no list is all of them.

    Not checked:
        That the plan's program is the one it was made for: the launcher measures it.
    """
    if plan.flags & PlanFlag.AUDIT:
        want = "one that does not: around a program that may make any call there is no filter"
        raise PlanFormatError(
            "plan", "a plan that makes the calls which it refuses (--on-violation audit)", want
        )
    known = table(launcher.arch)
    path = plan.program.decode(errors="backslashreplace")
    own = [*rules_from(launcher, 0), *_injected(known)]
    allowed = _allowed(plan, known, f"the launch plan allows it to {path}")
    named = AnalysedObject(path, plan.digest.hex(), "")
    return Outer(
        replace(
            launcher,
            objects=(*launcher.objects, named),
            phases=(Phase("startup", None, _united((*own, *allowed))),),
        ),
        frozenset(rule.number for rule in own),
        frozenset(rule.number for rule in allowed),
    )


def _injected(known: SyscallTable) -> list[SyscallRule]:
    why = ("the held program calls it for the launcher",)
    return [SyscallRule(known.number(name), name, why=why) for name in INJECTED]


def _allowed(plan: LaunchPlan, known: SyscallTable, why: str) -> list[SyscallRule]:
    filters = (plan.filter, *(stage.filter for stage in plan.stages))
    return [
        replace(rule, why=(why,))
        for encoded in filters
        for rule in let_through(FilterProgram.decode(encoded), known, _REFUSED)
    ]


def _united(rules: Iterable[SyscallRule]) -> tuple[SyscallRule, ...]:
    found: dict[int, SyscallRule] = {}
    for rule in rules:
        found[rule.number] = union(found[rule.number], rule) if rule.number in found else rule
    return tuple(found[number] for number in sorted(found))
