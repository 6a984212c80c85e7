"""
The recipe: an ELF program in, its syscall profile out.

Nothing is left out in silence: what could not be bounded is in `unresolved`, what belongs to another ABI in
`foreign_abi`, and either makes the profile incomplete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import shim
from shim.analysis.arguments import Conditions, argument_conditions, sleeping
from shim.analysis.assumptions import DEFAULT, HEADER_RIGHTS, Assumption
from shim.analysis.chains import Chains
from shim.analysis.dead import Dead
from shim.analysis.header_rights import loader_rights, stack_flags
from shim.analysis.narrow import narrowed, surviving
from shim.analysis.numbers import KernelEntry, kernel_entries
from shim.analysis.program import Program, load_program
from shim.analysis.refute import refuted
from shim.analysis.stages import stages
from shim.analysis.uses import Remaining
from shim.elf.files import FileSource
from shim.elf.image import ElfImage, parse_elf
from shim.elf.process import load_process
from shim.profile.profile import AnalysedObject, Phase, Profile, Site, SyscallRule, UnresolvedSite
from shim.progress import in_silence
from shim.syscalls import IMPLIED, SyscallTable, table


@dataclass(frozen=True, slots=True)
class Derivation:
    """A profile, and the analysed program that it was made from: `remaining` is what of it can run."""

    profile: Profile
    program: Program
    remaining: Remaining


def derive(
    data: bytes,
    path: str,
    *,
    files: FileSource | None = None,
    modules: tuple[str, ...] = (),
    assume: Collection[Assumption] = DEFAULT,
    stage: Callable[[str], None] = in_silence,
) -> Profile:
    """
    Return the syscall profile of the program whose file holds `data`.

    Args:
        data: The whole file.
        path: How the profile and messages call it; it is not opened.
        files: Where the loader finds the libraries of a dynamic program; None refuses one.
        modules: Paths or names of shared objects that the program may open while it runs.
        assume: The assumptions that may be made; those that were needed are in the result.
        stage: Told what is being done, as it begins.

    Raises:
        BinaryError: a file is no x86-64 or AArch64 ELF whose headers are consistent, or is missing.

    Not checked:
        Code that the program writes at run time: a profile of a program that maps memory executable covers
        only the code in its file.
    """
    return derivation(data, path, files=files, modules=modules, assume=assume, stage=stage).profile


def derivation(
    data: bytes,
    path: str,
    *,
    files: FileSource | None = None,
    modules: tuple[str, ...] = (),
    assume: Collection[Assumption] = DEFAULT,
    stage: Callable[[str], None] = in_silence,
) -> Derivation:
    """Return the profile as `derive` does, with what it was made from."""
    stage("reading the program and what it loads")
    image = parse_elf(data, path, machines=("x86_64", "aarch64"))
    process = load_process(image, files, modules)
    stage("following the code")
    program = load_program(process, assume)
    program.questions.assumptions.held = held = stack_flags(program) if HEADER_RIGHTS in assume else {}
    syscalls = table(program.architecture.name)
    stage("working the numbers out")
    found = kernel_entries(program, assume=assume)
    stage("taking out what never runs")
    dead, used = narrowed(program, found, assume)
    living = program.uses.without(dead).live
    dead = refuted(program, surviving(program, found, living, dead), dead)
    remaining = program.uses.without(dead)
    entries = surviving(program, found, remaining.live, dead)
    stage("arguments, ways and phases")
    chains = Chains(remaining, program.functions, program.memory)
    rights = loader_rights(program) if HEADER_RIGHTS in assume else {}
    used |= {HEADER_RIGHTS} if held or rights else set()
    conditions = argument_conditions(program, entries, syscalls, rights)
    rules, unknown = _rules(program, entries, chains, syscalls, conditions)
    startup = Phase("startup", None, rules)
    later = _later_phases(program, entries, (remaining.live, dead), chains, syscalls, conditions)
    profile = Profile(
        arch=image.machine,
        objects=_objects(program),
        phases=_lasting(startup, later, syscalls),
        unresolved=tuple(sorted({*_unresolved(program, entries), *unknown})),
        foreign_abi=tuple(sorted(_foreign(program, entries, syscalls))),
        assumptions=tuple(sorted(map(str, {*used, *program.modules.assumed}))),
        tool_version=shim.__version__,
    )
    return Derivation(profile, program, remaining)


def _objects(program: Program) -> tuple[AnalysedObject, ...]:
    """Return the program, then what else is mapped or was found to be opened, in the loader's order."""
    idle = program.modules.unmapped
    return tuple(
        AnalysedObject(image.path, image.sha256, image.build_id)
        for image in program.process.images
        if image.path not in idle
    )


def _later_phases(  # what every phase is made from
    program: Program,
    entries: list[KernelEntry],
    alive: tuple[set[int], Dead],
    chains: Chains,
    syscalls: SyscallTable,
    conditions: dict[int, Conditions],
) -> list[Phase]:
    """Return the phases behind the startup whose code asks for less than that of the one before."""
    living, dead = alive
    before = {number for entry in entries for number in entry.numbers}
    phases = []
    for stage in stages(program, entries):
        remaining = surviving(program, entries, living - stage.over, dead)
        numbers = {number for entry in remaining for number in entry.numbers}
        if numbers < before:
            rules, _ = _rules(program, remaining, chains, syscalls, conditions)
            phases.append(Phase(stage.name, program.memory.in_file(stage.boundary), rules))
            before = numbers
    return phases


def _lasting(startup: Phase, later: list[Phase], syscalls: SyscallTable) -> tuple[Phase, ...]:
    """
    Return the phases that allow less than the one before, none without what the kernel issued in the first.

    A handler that the startup installed returns from its signal in every phase.
    """
    names = {implied.name for implied in IMPLIED}
    implied = [rule.number for rule in startup.rules if rule.name in names]
    phases = [startup]
    for phase in later:
        rules = {number: _implied_rule(number, syscalls) for number in implied}
        rules.update((rule.number, rule) for rule in phase.rules)
        if len(rules) < len(phases[-1].rules):
            phases.append(replace(phase, rules=tuple(rules[number] for number in sorted(rules))))
    return tuple(phases)


def _rules(
    program: Program,
    entries: list[KernelEntry],
    chains: Chains,
    syscalls: SyscallTable,
    conditions: dict[int, Conditions],
) -> tuple[tuple[SyscallRule, ...], list[UnresolvedSite]]:
    """Return one rule per allowed call, and the sites whose numbers no table knows."""
    sites: dict[int, dict[int, KernelEntry]] = {}
    origins: dict[int, set[int]] = {}
    unknown = []
    for entry in entries:
        for number, places in entry.numbers.items():
            if number & syscalls.foreign_from:
                continue
            if number not in syscalls:
                unknown.append(
                    _site(program, entry, f"number {number} is not in the table of Linux {syscalls.kernel}")
                )
                continue
            sites.setdefault(number, {})[entry.address] = entry
            origins.setdefault(number, set()).update(places)
    rules = {
        number: SyscallRule(
            number,
            syscalls.name(number),
            conditions.get(number, ()),
            sites=tuple(
                Site(program.path(address), program.memory.in_file(address), program.functions.name(address))
                for address in sorted(found)
            ),
            why=_why(program, chains, origins[number], found),
        )
        for number, found in sites.items()
    }
    _add_implied(rules, syscalls, {"futex", "poll"} - sleeping(program, entries, syscalls))
    return tuple(rules[number] for number in sorted(rules)), unknown


def _add_implied(rules: dict[int, SyscallRule], syscalls: SyscallTable, awake: set[str]) -> None:
    """
    Add what the kernel itself issues; `awake` are calls that never sleep until a time.

    The older calls that a libc falls back to are code, and found as such: nothing here prunes the branch that
    tests for ENOSYS.
    """
    names = {rule.name for rule in rules.values()} - awake
    for implied in IMPLIED:
        if implied.by is None or names & implied.by:
            number = syscalls.number(implied.name)
            rules.setdefault(number, _implied_rule(number, syscalls))


def _implied_rule(number: int, syscalls: SyscallTable) -> SyscallRule:
    """Return the rule for a call that the kernel itself issues."""
    name = syscalls.name(number)
    return SyscallRule(number, name, why=tuple(each.reason for each in IMPLIED if each.name == name))


def _why(
    program: Program, chains: Chains, origins: set[int], found: dict[int, KernelEntry]
) -> tuple[str, ...]:
    """Return the shortest chain to a function that chooses the number, then the wrapper it goes through."""
    owners = {}
    for place in origins:
        run = program.reach.containing(place)
        if run is not None:
            owners[program.reach.owner[run.start].entry] = place
    if not owners:
        return ()
    nearest = min(owners, key=lambda entry: (chains.distance(entry), entry))
    chain = chains.to(nearest)
    wrappers = {entry.function for entry in found.values()}
    if nearest in wrappers:
        return chain
    name = program.functions.name(min(wrappers))
    return (
        *chain,
        f"passes the number at {program.memory.in_file(owners[nearest]):#x}: {name}",
    )


def _site(program: Program, entry: KernelEntry, reason: str) -> UnresolvedSite:
    return _place(program, entry.address, reason)


def _place(program: Program, address: int, reason: str) -> UnresolvedSite:
    name = program.functions.name(address)
    return UnresolvedSite(program.path(address), program.memory.in_file(address), name, reason)


def _unresolved(program: Program, entries: list[KernelEntry]) -> list[UnresolvedSite]:
    found = [_site(program, entry, entry.unresolved) for entry in entries if entry.unresolved]
    for address, reason in program.reach.unresolved:
        found.append(_place(program, address, reason))
    return found + [place for image in program.process.images for place in _writable_code(image)]


def _writable_code(image: ElfImage) -> list[UnresolvedSite]:
    return [
        UnresolvedSite(
            image.path,
            segment.address - image.base,
            "segment",
            "code in a writable segment, which the program can replace",
        )
        for segment in image.segments
        if segment.executable and segment.writable
    ]


def _foreign(program: Program, entries: list[KernelEntry], syscalls: SyscallTable) -> list[UnresolvedSite]:
    found = [_site(program, entry, entry.foreign) for entry in entries if entry.foreign]
    for entry in entries:
        x32 = [number for number in entry.numbers if number & syscalls.foreign_from]
        if x32:
            found.append(_site(program, entry, f"number {x32[0]:#x}: the x32 ABI"))
    return found
