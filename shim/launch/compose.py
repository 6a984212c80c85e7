"""
From a profile to a launch plan: which filter, which file, which arguments, which environment.

The step after which nothing interprets a profile any more: the launcher only reads the plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from shim.errors import IncompleteProfileError, PlanFormatError
from shim.filter import compile_filter
from shim.filter.actions import KILL_PROCESS, USER_NOTIF
from shim.launch.plan import LaunchPlan, PlanFlag
from shim.profile.phases import rules_from
from shim.profile.pins import EXEC_CALLS, pins
from shim.profile.profile import Profile
from shim.syscalls import table

_LAUNCHED = "x86_64"
# What a kernel may lack, and the flag without which its absence is only reported, or it is not done.
REQUIREMENTS = MappingProxyType({"mdwe": PlanFlag.NO_EXEC_GAIN, "mseal": PlanFlag.REQUIRE_SEALS})

OnViolation = Literal["kill", "kernel", "errno", "audit"]
_ANSWERS = MappingProxyType(
    {
        "kill": PlanFlag(0),
        "kernel": PlanFlag.NO_EVENTS,
        "errno": PlanFlag.ERRNO,
        "audit": PlanFlag.AUDIT | PlanFlag.EXEC_ALLOWED,
    }
)


@dataclass(frozen=True, slots=True)
class Layout:
    """
    What the launch has to know of a program's file beside its profile, in the file's addresses.

    Attributes:
        entry_point: Of the first instruction.
        sealed: Whole pages that nobody shall change or unmap.
    """

    entry_point: int
    sealed: tuple[range, ...]


def compose(  # noqa: PLR0913  # what a launch depends on
    profile: Profile,
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    on_violation: OnViolation = "kill",
    allow_incomplete: bool = False,
    layout: Layout | None = None,
    pin: bool = True,
    require: Collection[str] = (),
) -> LaunchPlan:
    """
    Return the plan that launches `program` under the filter of `profile`.

    Args:
        profile: The profile of exactly this file; its digest goes into the plan and is measured at launch.
        program: Absolute path of the file.
        arguments: Argument vector, the program's own name first.
        environment: The whole environment; nothing else is passed on.
        on_violation: What becomes of a refused call: the launcher reports it and kills the program, the
            kernel kills it by itself ("kernel"), it fails with EPERM ("errno") or is made ("audit").
        allow_incomplete: Accept a profile with unresolved sites: what they call is refused.
        layout: Where the file has its first instruction and what is sealed; without it nothing is moved, so
            that nothing is pinned or sealed.
        pin: Allow each call only from the places that the profile has for it, if it knows them all.
        require: Of `REQUIREMENTS`, what has to be done or the launch fails.

    Raises:
        IncompleteProfileError: the profile is incomplete and that was not allowed.
        FilterError: the filter does not fit.
        PlanFormatError: a value that a plan cannot hold.

    Not checked:
        That the file at `program` is the one the profile was made from: the launcher measures it.
    """
    if profile.arch != _LAUNCHED:
        raise PlanFormatError(
            f"{program}: architecture", profile.arch, f"{_LAUNCHED}: the launcher runs no other"
        )
    if not profile.complete and not allow_incomplete:
        places = (*profile.unresolved, *profile.foreign_abi)
        raise IncompleteProfileError(
            program, tuple(f"{place.function} at {place.address:#x}: {place.reason}" for place in places)
        )
    rules = rules_from(profile, 0)
    sources = pins(profile)
    pinned = layout is not None and pin and sources.pinnable
    violation = KILL_PROCESS if on_violation == "kernel" else USER_NOTIF
    sealed = layout.sealed if layout is not None else ()
    filter_program = compile_filter(rules, table(profile.arch), violation, sources if pinned else None)
    flags = _ANSWERS[on_violation]
    for name in require:
        flags |= REQUIREMENTS[name]
    if EXEC_CALLS & {rule.name for rule in rules}:
        flags |= PlanFlag.EXEC_ALLOWED
    return LaunchPlan(
        program=program.encode(errors="surrogateescape"),
        digest=bytes.fromhex(profile.program.sha256),
        filter=filter_program.encode(),
        argv=tuple(argument.encode(errors="surrogateescape") for argument in arguments),
        environment=tuple(
            f"{name}={value}".encode(errors="surrogateescape") for name, value in environment.items()
        ),
        entry_point=layout.entry_point if layout and (sealed or filter_program.relocations) else None,
        relocations=filter_program.relocations,
        sealed=sealed,
        flags=flags,
    )
