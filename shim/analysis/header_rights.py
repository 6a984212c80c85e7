"""
What do the program headers of objects decide about rights to pages, where the code does not tell?

A loader maps with the rights that are in the headers, which are data that it reads from files.  A C library
gives the stacks of threads the rights that the program's header has for its first.
"""

from __future__ import annotations

from collections.abc import Iterator

from shim.analysis.architecture import Act, Form
from shim.analysis.assumptions import HELD_SIZE
from shim.analysis.blocks import Block
from shim.analysis.decided import only_successor
from shim.analysis.program import Program
from shim.elf.image import PF_R, PF_W, PF_X, ElfImage

_PROT_READ, _PROT_WRITE, _PROT_EXEC = 0x1, 0x2, 0x4
_OWN = frozenset({0, _PROT_READ, _PROT_READ | _PROT_WRITE})
# Where these are exported the interpreter is the C library too, and others call what enters the kernel.
_FOR_OTHERS = frozenset({"mmap", "mmap64", "__mmap", "mprotect", "__mprotect"})
_PT_GNU_STACK = 0x6474E551
# Of Elf64_Phdr: gABI, "Program Header".
_OFFSET_OF_FLAGS, _SIZE_OF_FLAGS = 4, HELD_SIZE


def loader_rights(program: Program) -> dict[str, frozenset[int]]:
    """
    Return by the name of the call the rights that the loader of a program ever passes.

    Those of `mmap` are the segments' (glibc 2.36, elf/dl-map-segments.h, _dl_map_segments) and what the
    loader wants for itself.  By `mprotect` it takes the right to write away where it has relocated
    (elf/dl-reloc.c, _dl_protect_relro), and gives it to the end of a segment that is cleared.  No page
    becomes code by that but for relocations in the text (_dl_relocate_object) and for objects that want an
    executable stack (elf/dl-load.c, _dl_map_object_from_fd): then there is no key for it.
    """
    loader = program.process.interpreter
    if loader is None or _serves_others(program, loader):
        return {}
    objects = program.process.images
    mapped = {_rights(segment.flags) for image in objects for segment in image.segments}
    rights = {"mmap": _OWN | mapped}
    if not any(image.relocates_text or image.executable_stack for image in objects):
        rights["mprotect"] = _OWN | {one for one in mapped if not one & _PROT_EXEC}
    return rights


def stack_flags(program: Program) -> dict[int, int]:
    """
    Return the variables that hold the flags of the stack's program header, each with these flags.

    None where an object wants an executable stack, for which the C library changes them (glibc 2.36,
    elf/dl-load.c), and none for code of AArch64, where no instruction holds the whole number of PT_GNU_STACK.
    """
    if any(image.executable_stack for image in program.process.images):
        return {}
    return dict.fromkeys(_kept_flags(program), program.image.stack_flags)


def only_with_executable_stack(program: Program) -> dict[int, set[int]]:
    """Return for each function the starts of blocks that a branch on the flags of the stack never goes to."""
    questions, graph = program.questions, program.questions.graph
    found: dict[int, set[int]] = {}
    for ip in graph.naming(questions.assumptions.held):
        branch = program.blocks.containing(ip)
        goes = None if branch is None else only_successor(branch, questions.listings, program.values)
        if branch is None or goes is None:
            continue
        other = program.blocks.at(branch.end if goes == branch.target else branch.target)
        if other is not None and [*graph.before(other), *graph.behind_call(other)] == [branch]:
            found.setdefault(program.blocks.owner(other).entry, set()).add(other.start)
    return found


def _kept_flags(program: Program) -> Iterator[int]:
    """
    Yield where the field p_flags is kept of what was found to be PT_GNU_STACK.

    elf/rtld.c, rtld_setup_main_map, and elf/dl-support.c, _dl_non_dynamic_init, of glibc 2.36.
    """
    loads: dict[int, set[int]] = {}
    for place in program.memory.places(_PT_GNU_STACK.to_bytes(4, "little")):
        comparing = program.blocks.containing(place)
        found = None if comparing is None else _where_equal(program, comparing)
        if found is not None:
            loads.setdefault(program.blocks.owner(found).entry, set()).update(_loads_of_flags(program, found))
    for entry, instructions in loads.items():
        for block in program.blocks.of(program.reach.functions[entry]) if instructions else ():
            yield from _stores_of(program, block, instructions)


def _where_equal(program: Program, block: Block) -> Block | None:
    """Return the block that follows where what the end of `block` compares is PT_GNU_STACK."""
    instructions = program.questions.listings.listing(block).instructions
    comparison = program.architecture.comparison(instructions)
    if comparison is None:
        return None
    taken = comparison.taken(_PT_GNU_STACK)
    others = {comparison.taken(_PT_GNU_STACK + distance) for distance in (-1, 1)}
    if taken is None or others != {not taken}:
        return None
    return program.blocks.at(block.target if taken else block.end)


def _loads_of_flags(program: Program, block: Block) -> Iterator[int]:
    """Yield the addresses of the instructions of a block that load a p_flags."""
    for instruction in program.questions.listings.listing(block).instructions:
        if any(_is_load_of_flags(form) for form in program.architecture.forms(instruction)):
            yield instruction.ip


def _is_load_of_flags(form: Form) -> bool:
    return (
        form.act == Act.LOAD
        and form.memory is not None
        and (form.memory.displacement, form.memory.size) == (_OFFSET_OF_FLAGS, _SIZE_OF_FLAGS)
    )


def _stores_of(program: Program, block: Block, loads: set[int]) -> Iterator[int]:
    """Yield the variables into which a block puts what some of `loads` have loaded, and nothing else."""
    listing = program.questions.listings.listing(block)
    for index, instruction in enumerate(listing.instructions):
        for form in program.architecture.forms(instruction):
            memory = form.memory if form.act == Act.STORE else None
            if memory is None or memory.address is None or memory.size != _SIZE_OF_FLAGS:
                continue
            register = program.architecture.variable_store(instruction, memory.address)
            if isinstance(register, int):
                made = _makers(program, block, index, register)
                if made and made <= loads:
                    yield memory.address


def _makers(program: Program, block: Block, index: int, register: int) -> set[int]:
    """
    Return the instructions of a function that last wrote a register before one of a block.

    What it holds where the function is entered has no maker here.
    """
    graph, listings = program.questions.graph, program.questions.listings
    kept = register in program.architecture.conventions.callee_saved
    makers: set[int] = set()
    seen: set[int] = set()
    pending = [(block, index)]
    while pending:
        block, index = pending.pop()
        writes = listings.listing(block).writes
        maker = next((at for at in range(index - 1, -1, -1) if register in writes[at]), None)
        if maker is not None:
            makers.add(listings.listing(block).instructions[maker].ip)
        elif block.start not in seen:
            seen.add(block.start)
            before = [(one, len(listings.listing(one).instructions)) for one in graph.before(block)]
            called = [(one, listings.listing(one).last_index) for one in graph.behind_call(block)]
            makers |= set() if kept else {one.last for one, _ in called}
            pending += before + called if kept else before
    return makers


def _serves_others(program: Program, loader: ElfImage) -> bool:
    """Whether code outside the loader may call its functions that map, or nothing says what it exports."""
    exported = [
        name
        for exports in program.process.exports
        for name, address in exports.items()
        if program.path(address) == loader.path
    ]
    return not exported or not _FOR_OTHERS.isdisjoint(exported)


def _rights(flags: int) -> int:
    """Return the rights to pages that a segment's flags ask for."""
    wanted = ((PF_R, _PROT_READ), (PF_W, _PROT_WRITE), (PF_X, _PROT_EXEC))
    return sum(right for flag, right in wanted if flags & flag)
