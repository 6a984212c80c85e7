"""
How does a person read a filter?

One line for each instruction, with absolute targets, names of syscalls where the number is being compared,
and names of actions.  The text is stable, so that tests and reviews can compare it.
"""

from __future__ import annotations

from shim.filter.actions import action_name
from shim.filter.data import ARCH_OFFSET, INSTRUCTION_POINTER_OFFSET, NR_OFFSET
from shim.filter.program import CONDITIONAL_JUMPS, RETURNS, FilterProgram, Instruction, Opcode
from shim.syscalls.table import SyscallTable


def listing(program: FilterProgram, table: SyscallTable) -> str:
    """
    Return the program as text, one line for each instruction.

    Raises:
        FilterError: a constant return of an action that the kernel does not have.
        ValueError: an opcode that is not one of `Opcode`; `shim.filter.check` tells where.
    """
    compares_number = _numbers_loaded(program)
    lines = []
    for position, instruction in enumerate(program.instructions):
        code = Opcode(instruction.code)
        text = _line(position, code, instruction)
        name = table.names.get(instruction.k) if compares_number[position] else None
        lines.append(f"{position:4}  {text}" + (f"  ; {name}" if name else ""))
    return "\n".join(lines) + "\n"


def _line(position: int, code: Opcode, instruction: Instruction) -> str:
    mnemonic = code.name.lower()
    if code in CONDITIONAL_JUMPS:
        holds, fails = position + 1 + instruction.jt, position + 1 + instruction.jf
        operand = f"0x{instruction.k:x}" if mnemonic.endswith("_k") else "x"
        return f"{mnemonic:8} {operand:<12} {holds} else {fails}"
    match code:
        case Opcode.JA:
            return f"{mnemonic:8} {position + 1 + instruction.k}"
        case Opcode.RET_K:
            return f"{mnemonic:8} {action_name(instruction.k)}"
        case Opcode.LD_ABS:
            return f"{mnemonic:8} {_field(instruction.k)}"
        case _:
            return f"{mnemonic:8} 0x{instruction.k:x}"


def _field(offset: int) -> str:
    if offset == NR_OFFSET:
        return "nr"
    if offset == ARCH_OFFSET:
        return "arch"
    half = "high" if offset % 8 else "low"
    if offset < INSTRUCTION_POINTER_OFFSET + 8:
        return f"instruction_pointer.{half}"
    return f"args[{(offset - 16) // 8}].{half}"


def _numbers_loaded(program: FilterProgram) -> list[bool]:
    """Return, for each conditional jump, whether the accumulator surely holds the syscall number there."""
    before: list[set[bool]] = [set() for _ in range(len(program) + 1)]
    before[0].add(False)
    for position, instruction in enumerate(program.instructions):
        state = before[position]
        if instruction.code in CONDITIONAL_JUMPS:
            before[position + 1 + instruction.jt] |= state
            before[position + 1 + instruction.jf] |= state
        elif instruction.code == Opcode.JA:
            before[position + 1 + instruction.k] |= state
        elif instruction.code not in RETURNS:
            is_number = instruction.code == Opcode.LD_ABS and instruction.k == NR_OFFSET
            before[position + 1] |= {is_number}
    return [
        instruction.code in CONDITIONAL_JUMPS and state == {True}
        for instruction, state in zip(program.instructions, before, strict=False)
    ]
