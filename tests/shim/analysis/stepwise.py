"""What `Disassembler.run` must answer, one instruction after another, from nothing but the disassembler."""

from __future__ import annotations

from dataclasses import dataclass, field

from iced_x86 import (
    Code,
    Decoder,
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    MemorySizeExt,
    Mnemonic,
    OpAccess,
    OpKind,
    Register,
)

from shim.analysis.decode import MAX_RUN, Abi, Ending, Reference, Run, Use

ENDINGS = {
    FlowControl.UNCONDITIONAL_BRANCH: Ending.JUMP,
    FlowControl.INDIRECT_BRANCH: Ending.JUMP_INDIRECT,
    FlowControl.CONDITIONAL_BRANCH: Ending.BRANCH,
    FlowControl.RETURN: Ending.RETURN,
    FlowControl.CALL: Ending.CALL,
    FlowControl.INDIRECT_CALL: Ending.CALL_INDIRECT,
    FlowControl.EXCEPTION: Ending.STOP,
}
ABIS = {Code.SYSCALL: Abi.SYSCALL, Code.SYSENTER: Abi.SYSENTER}
IMMEDIATES = (OpKind.IMMEDIATE32, OpKind.IMMEDIATE64, OpKind.IMMEDIATE32TO64)
ACCESSES = InstructionInfoFactory()


@dataclass
class Code64:
    """Code at an address, the image around it, and where something was decoded before."""

    code: bytes
    start: int
    lowest: int
    highest: int
    absolute: bool
    behind: int = 0
    decoded: set[int] = field(default_factory=set)


def follow(code: Code64, start: int, returning: set[int]) -> Run:
    run = Run(start, start, 0, Ending.INVALID, 0, [], [], [], [], [])
    decoder = Decoder(64, code.code, ip=code.start)
    decoder.ip, decoder.position = start, start - code.start
    limit = min(start + MAX_RUN, code.start + len(code.code))
    code.decoded.add(start)
    while True:
        instruction = decoder.decode()
        if instruction.code == Code.INVALID:
            run.end = instruction.ip
            return run
        run.references.extend(
            reference
            for reference in references(instruction, absolute=code.absolute)
            if code.lowest <= reference.address < code.highest
        )
        if leaves(run, instruction, code, returning):
            return run
        if decoder.ip >= limit or decoder.ip in code.decoded:
            run.ending, run.end = Ending.FALL, decoder.ip
            return run
        code.decoded.add(decoder.ip)


def references(instruction: Instruction, *, absolute: bool) -> list[Reference]:
    found = []
    ip = instruction.ip
    relative = instruction.is_ip_rel_memory_operand
    if instruction.memory_displ_size > 1 and instruction.mnemonic != Mnemonic.NOP and (relative or absolute):
        address = instruction.ip_rel_memory_address if relative else instruction.memory_displacement
        based = instruction.memory_base != Register.NONE or instruction.memory_index != Register.NONE
        if instruction.mnemonic == Mnemonic.LEA:
            found.append(Reference(ip, address, Use.ADDRESS, 0))
        elif based and not relative:
            found.append(Reference(ip, address, Use.INDEXED, 0))
        else:
            size = MemorySizeExt.size(instruction.memory_size)
            found.append(Reference(ip, address, Use.WRITE if only_writes(instruction) else Use.READ, size))
    if absolute:
        found += [
            Reference(ip, instruction.immediate(operand), Use.ADDRESS, 0)
            for operand in range(instruction.op_count)
            if instruction.op_kind(operand) in IMMEDIATES
        ]
    return found


def only_writes(instruction: Instruction) -> bool:
    """Without the mask of AVX-512, under which elements stay as they were."""
    unmasked = instruction.copy()
    unmasked.op_mask = Register.NONE
    return instruction.op0_kind == OpKind.MEMORY and ACCESSES.info(unmasked).op0_access in (
        OpAccess.WRITE,
        OpAccess.COND_WRITE,
    )


def leaves(run: Run, instruction: Instruction, code: Code64, returning: set[int]) -> bool:
    ip, behind, kind = instruction.ip, instruction.next_ip, instruction.code
    target = instruction.near_branch_target
    ending = Ending.STOP if kind == Code.HLT else ENDINGS.get(instruction.flow_control, 0)
    if kind in ABIS:
        run.kernel_entries.append((ip, ABIS[kind]))
        return False
    if kind == Code.INT_IMM8 and instruction.immediate8 == 0x80:
        run.kernel_entries.append((ip, Abi.INT80))
        return False
    if instruction.mnemonic == Mnemonic.XBEGIN or ending == Ending.BRANCH:
        run.branches.append((ip, target))
        return False
    if kind == Code.INT3:
        offset = behind - code.start
        following = code.code[offset] if offset < len(code.code) else code.behind
        ending = Ending.STOP if following == 0xCC else 0
    if not ending or (ending == Ending.CALL and target == behind):
        return False
    if ending == Ending.CALL and target in returning:
        run.calls.append((ip, target))
        return False
    if ending in {Ending.JUMP_INDIRECT, Ending.CALL_INDIRECT}:
        target = pointer(instruction)
        if ending == Ending.CALL_INDIRECT and not target:
            run.indirect_calls.append(ip)
            return False
    elif ending not in {Ending.JUMP, Ending.CALL}:
        target = 0
    run.last, run.end, run.ending, run.target = ip, behind, ending, target
    return True


def pointer(instruction: Instruction) -> int:
    if instruction.op0_kind != OpKind.MEMORY:
        return 0
    if instruction.is_ip_rel_memory_operand:
        return int(instruction.ip_rel_memory_address)
    registers = (instruction.memory_base, instruction.memory_index, instruction.segment_prefix)
    return int(instruction.memory_displacement) if set(registers) == {Register.NONE} else 0
