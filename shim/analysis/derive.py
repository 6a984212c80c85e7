"""
The recipe: a static ELF program in, its syscall profile out.

Nothing is left out in silence: what could not be bounded is in `unresolved`, what belongs to another ABI in
`foreign_abi`, and either makes the profile incomplete.
"""

from __future__ import annotations

import shim
from shim.analysis.chains import Chains
from shim.analysis.numbers import KernelEntry, kernel_entries
from shim.analysis.program import Program, load_program
from shim.elf.image import ElfImage, parse_elf
from shim.profile.profile import AnalysedObject, Phase, Profile, Site, SyscallRule, UnresolvedSite
from shim.syscalls import ALWAYS, SyscallTable, table, with_fallbacks


def derive(data: bytes, path: str, *, assume: bool = True) -> Profile:
    """
    Return the syscall profile of the static program whose file holds `data`.

    Args:
        data: The whole file.
        path: How the profile and messages call it; it is not opened.
        assume: Where a number cannot be bounded otherwise, take named assumptions; they are in the result.

    Raises:
        BinaryError: the file is not a static x86-64 ELF program whose headers are consistent.

    Not checked:
        Code that the program writes at run time: a profile of a program that maps memory executable covers
        only the code in its file.
    """
    image = parse_elf(data, path)
    syscalls = table("x86_64")
    program = load_program(image)
    entries = kernel_entries(program, assume=assume)
    chains = Chains(program.reach, program.functions, image.base)
    rules, unknown = _rules(program, entries, chains, syscalls)
    return Profile(
        arch="x86_64",
        objects=(AnalysedObject(path, image.sha256, image.build_id),),
        phases=(Phase("startup", None, rules),),
        unresolved=tuple(sorted({*_unresolved(program, entries), *unknown})),
        foreign_abi=tuple(sorted(_foreign(program, entries, syscalls))),
        assumptions=tuple(sorted({entry.assumed for entry in entries if entry.assumed})),
        tool_version=shim.__version__,
    )


def _rules(
    program: Program, entries: list[KernelEntry], chains: Chains, syscalls: SyscallTable
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
            sites=tuple(
                Site(program.image.path, address - program.image.base, program.functions.name(address))
                for address in sorted(found)
            ),
            why=_why(program, chains, origins[number], found),
        )
        for number, found in sites.items()
    }
    _add_always(rules, syscalls)
    return tuple(rules[number] for number in sorted(rules)), unknown


def _add_always(rules: dict[int, SyscallRule], syscalls: SyscallTable) -> None:
    """Add what the kernel itself issues, and the older calls that a libc falls back to."""
    for always in ALWAYS:
        number = syscalls.number(always.name)
        rules.setdefault(number, SyscallRule(number, always.name, why=(always.reason,)))
    names = {rule.name for rule in rules.values()}
    for name, fallback in with_fallbacks(names).items():
        number = syscalls.number(name)
        why = f"a libc falls back to it where the kernel lacks {fallback.newer}"
        rules.setdefault(number, SyscallRule(number, name, why=(why,)))


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
    wrapper = min(wrappers)
    return (
        *chain,
        f"passes the number at {owners[nearest] - program.image.base:#x}: {program.functions.name(wrapper)}",
    )


def _site(program: Program, entry: KernelEntry, reason: str) -> UnresolvedSite:
    return _place(program, entry.address, reason)


def _place(program: Program, address: int, reason: str) -> UnresolvedSite:
    name = program.functions.name(address)
    return UnresolvedSite(program.image.path, address - program.image.base, name, reason)


def _unresolved(program: Program, entries: list[KernelEntry]) -> list[UnresolvedSite]:
    found = [_site(program, entry, entry.unresolved) for entry in entries if entry.unresolved]
    for address, reason in program.reach.unresolved:
        found.append(_place(program, address, reason))
    return found + _writable_code(program.image)


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
