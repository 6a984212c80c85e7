"""
From a profile to a launch plan: which filter, which file, which arguments, which environment.

The step after which nothing interprets a profile any more: the launcher only reads the plan.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from shim.errors import IncompleteProfileError, PlanFormatError
from shim.filter import FilterProgram, FilterTooLongError, compile_filter
from shim.filter.actions import KILL_PROCESS, TRACE, USER_NOTIF
from shim.launch.confinement import Confinement, landlock_for
from shim.launch.layout import Layout
from shim.launch.plan import LaunchPlan, ObjectSeal, PlanFlag, PlannedObject, Stage
from shim.launch.plan_layout import MAX_STAGES
from shim.profile.exec_gain import gains_exec
from shim.profile.phases import rules_from
from shim.profile.pins import EXEC_CALLS, pins
from shim.profile.profile import Profile
from shim.syscalls import table

_LAUNCHED = "x86_64"
# What a kernel may lack, and the flag without which its absence is only reported, or it is not done.
REQUIREMENTS = MappingProxyType(
    {
        "mdwe": PlanFlag.NO_EXEC_GAIN | PlanFlag.REQUIRE_NO_EXEC_GAIN,
        "mseal": PlanFlag.REQUIRE_SEALS,
        "landlock": PlanFlag.REQUIRE_LANDLOCK,
    }
)

# What a program may not do before its last boundary: it would leave it, or let others' calls through that
# only stop in a tracer.
LEAVING = EXEC_CALLS | {"ptrace"}

OnViolation = Literal["kill", "kernel", "errno", "audit"]
_ANSWERS = MappingProxyType(
    {
        "kill": PlanFlag(0),
        "kernel": PlanFlag.NO_EVENTS,
        "errno": PlanFlag.ERRNO,
        "audit": PlanFlag.AUDIT | PlanFlag.EXEC_ALLOWED,
    }
)


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
    phases: bool = True,
    require: Collection[str] = (),
    confinement: Confinement | None = None,
    exists: Callable[[str], bool] = os.path.exists,
    appendable: bool = False,
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
        phases: Measure what the loader maps, and tighten the filter at the profile's boundaries, these not
            where the program may execute another or trace one; and neither where nobody listens.
        require: Of `REQUIREMENTS`, what has to be done or the launch fails.
        confinement: What the program may reach, as whom, within which limits; None restricts nothing.
        exists: Whether there is a file at a path.
        appendable: Whether who starts the launcher may append arguments: no call of the profile depends on
            which there are.

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
    flags = _ANSWERS[on_violation]
    for name in require:
        flags |= REQUIREMENTS[name]
    rules = rules_from(profile, 0)
    if on_violation != "audit" and not gains_exec(rules):
        flags |= PlanFlag.NO_EXEC_GAIN
    names = {rule.name for rule in rules}
    flags |= PlanFlag.EXEC_ALLOWED if EXEC_CALLS & names else 0
    violation = KILL_PROCESS if on_violation == "kernel" else USER_NOTIF
    staged: tuple[Stage, ...] = ()
    if phases and layout is not None and on_violation != "kernel":
        staged = _stages(profile, layout, violation, pin=pin, only_loader=bool(names & LEAVING))
    first = _filter(
        without(profile, LEAVING) if staged else profile,
        0,
        TRACE if staged else violation,
        layout if pin else None,
        started=False,
    )
    sealed = layout.sealed if layout is not None else ()
    objects = layout.objects if layout is not None and staged else ()
    needs_entry = sealed or first.relocations or staged
    confinement = confinement or Confinement(allow_signals=True)
    return LaunchPlan(
        program=program.encode(errors="surrogateescape"),
        digest=bytes.fromhex(profile.program.sha256),
        filter=first.encode(),
        argv=tuple(argument.encode(errors="surrogateescape") for argument in arguments),
        environment=tuple(
            f"{name}={value}".encode(errors="surrogateescape") for name, value in environment.items()
        ),
        entry_point=layout.entry_point if layout is not None and needs_entry else None,
        relocations=first.relocations,
        sealed=sealed,
        objects=tuple(PlannedObject(one.digest, one.address) for one in objects),
        object_seals=tuple(
            ObjectSeal(number, pages) for number, one in enumerate(objects) for pages in one.sealed
        ),
        stages=staged,
        limits=confinement.limits,
        landlock=landlock_for(confinement, profile, program, exists),
        identity=confinement.identity,
        namespaces=confinement.namespaces,
        timeout=confinement.timeout,
        cgroup=confinement.cgroup,
        flags=flags | confinement.flags | (PlanFlag.ARGUMENTS if appendable else PlanFlag(0)),
    )


def without(profile: Profile, names: Collection[str]) -> Profile:
    """Return a profile without the calls of these names."""
    phases = tuple(
        replace(phase, rules=tuple(rule for rule in phase.rules if rule.name not in names))
        for phase in profile.phases
    )
    return replace(profile, phases=phases)


def _filter(
    profile: Profile, phase: int, violation: int, layout: Layout | None, *, started: bool
) -> FilterProgram:
    """
    Return the filter from a phase on; without a layout it pins nothing.

    Until the loader has `started` the program nobody knows where its objects are.
    """
    rules = rules_from(profile, phase)
    known = table(profile.arch)
    mapped = [] if layout is None or not started else [one.path for one in layout.objects]
    sources = pins(profile, phase, mapped)
    placed = layout is not None and (started or not layout.objects)
    if placed and sources.pinnable:
        with contextlib.suppress(FilterTooLongError):
            return compile_filter(rules, known, violation, sources)
    return compile_filter(rules, known, violation)


def _stages(
    profile: Profile, layout: Layout, violation: int, *, pin: bool, only_loader: bool
) -> tuple[Stage, ...]:
    """
    Return the stages behind the first filter: one where the loader is done, and the phases that need less.
    """
    begins: list[tuple[int, int]] = [(layout.entry_point, 0)] if layout.objects else []
    known = rules_from(profile, 0)
    for number, phase in enumerate(() if only_loader else profile.phases):
        rules = rules_from(profile, number)
        if phase.boundary is not None and rules != known:
            begins.append((phase.boundary, number))
            known = rules
    stages = []
    for place, (boundary, number) in enumerate(begins[:MAX_STAGES]):
        last = place == len(begins[:MAX_STAGES]) - 1
        action = violation if last else TRACE
        program = _filter(profile, number, action, layout if pin else None, started=True)
        stages.append(Stage(boundary, program.encode(), program.relocations))
    return tuple(stages)
