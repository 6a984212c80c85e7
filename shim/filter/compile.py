"""
How does a phase of a profile become a filter?

Pure and total: rules, table and violation action in, program out.  The shape is

    wrong architecture        -> KILL_PROCESS, whatever the violation action
    binary search over nr     -> ALLOW, violation, ENOSYS, or the tests of a rule
    tests of a rule           -> ALLOW or violation

A number that is allowed without conditions is decided by loads of `nr` and `arch`, comparisons with constants
and a return of exactly SECCOMP_RET_ALLOW.  That is all that seccomp_is_const_allow in kernel/seccomp.c
(v6.12) can follow, so the kernel answers such calls from a bitmap and never runs the filter.  Every
instruction that it cannot follow, a load of an argument or of the instruction pointer, is therefore placed
behind the search.  Where nothing is decided like that, as in a filter whose every call is pinned, the first
instruction is one that it cannot follow: the kernel would otherwise walk the search for each number that it
knows before it installs the filter, twice what everything else about that costs.

Not in our hands: since v6.14 (and stable kernels of early 2025) the kernel lets uretprobe, since v6.18 also
uprobe, pass every filter on x86_64.  Outside the kernel's own trampolines both only fail.
"""

from __future__ import annotations

from collections.abc import Sequence

from shim.errors import FilterError
from shim.filter.actions import ALLOW, KILL_PROCESS, action_name
from shim.filter.assemble import Assembler, Label
from shim.filter.data import ARCH_OFFSET, INSTRUCTION_POINTER_OFFSET, NR_OFFSET
from shim.filter.decision import (
    AtLeast,
    Behind,
    Decision,
    Guarded,
    Inside,
    Member,
    Split,
    Test,
    Verdict,
    decision_tree,
)
from shim.filter.program import MAX_INSTRUCTIONS, FilterProgram, Opcode, Part
from shim.profile.pins import Pins
from shim.profile.profile import SyscallRule
from shim.syscalls.table import SyscallTable

_LOW = 0xFFFF_FFFF


class FilterTooLongError(FilterError):
    """
    A filter of more instructions than the kernel takes.

    Attributes:
        length: Instructions it has.
        limit: Instructions it may have.
    """

    def __init__(self, length: int, limit: int) -> None:
        self.length = length
        self.limit = limit
        super().__init__(
            "filter",
            f"{length} instructions",
            f"at most {limit}",
            "BPF_MAXINSNS, include/uapi/linux/bpf_common.h",
        )


def compile_filter(
    rules: Sequence[SyscallRule],
    table: SyscallTable,
    violation: int = KILL_PROCESS,
    pins: Pins | None = None,
) -> FilterProgram:
    """
    Return the filter that allows exactly `rules`; with `pins` only from there, and then it has relocations.

    Args:
        rules: What is allowed.  For a phase of a profile these are the rules of that phase and of all later
            ones (`shim.profile.phases.rules_from`), because filters only ever tighten.
        table: The architecture's syscalls.
        violation: The action for a known call that no rule allows, and for calls of x32.
        pins: Where each call may come from, all in the objects that it names or the vDSO; of the same rules.

    Raises:
        FilterTooLongError: more instructions than the kernel takes.
        FilterError: a rule that the table contradicts, two rules for one number, a condition that is not
            one, an action the kernel lacks, pins that are not complete.
        ValueError: a condition on an argument other than 0 to 5.

    Not checked:
        That `violation` refuses.  LOG and ALLOW let the call pass, which is what an audit wants.
    """
    action_name(violation)
    if pins is not None and not pins.pinnable:
        raise FilterError("pins", pins.unpinnable[0], "every place that a call may come from")
    tree = decision_tree(_by_number(rules, table), table, violation, pins)
    program = _assembled(tree, table)
    if len(program) > MAX_INSTRUCTIONS:
        raise FilterTooLongError(len(program), MAX_INSTRUCTIONS)
    return program


def _by_number(rules: Sequence[SyscallRule], table: SyscallTable) -> dict[int, SyscallRule]:
    numbered: dict[int, SyscallRule] = {}
    for rule in rules:
        if table.numbers.get(rule.name) != rule.number:
            want = f"a number and name of {table.arch}"
            raise FilterError("rule", f"{rule.number} {rule.name}", want, f"Linux {table.kernel}")
        if rule.number in numbered:
            raise FilterError(f"rule {rule.name}", "two rules", "one rule for each number")
        numbered[rule.number] = rule
    return numbered


def _assembled(tree: Decision, table: SyscallTable) -> FilterProgram:
    asm = Assembler()
    wrong_arch = asm.ret(KILL_PROCESS)
    search = asm.load(NR_OFFSET, _decide(asm, tree))
    entry = asm.load(ARCH_OFFSET, asm.jump(Opcode.JEQ_K, table.audit_arch, search, wrong_arch))
    return asm.program(entry if _allows_any(tree) else asm.opaque(entry))


def _allows_any(decision: Decision) -> bool:
    """Whether some number is allowed whatever its arguments and wherever it comes from."""
    match decision:
        case Split(_, below, above):
            return _allows_any(below) or _allows_any(above)
        case Verdict(action):
            return action == ALLOW
        case Guarded():
            return False


def _decide(asm: Assembler, decision: Decision) -> Label:
    match decision:
        case Verdict(action):
            return asm.ret(action)
        case Split(pivot, below, above):
            at_or_above = _decide(asm, above)
            return asm.jump(Opcode.JGE_K, pivot, at_or_above, _decide(asm, below))
        case Guarded():
            return _guard(asm, decision)


def _guard(asm: Assembler, guarded: Guarded) -> Label:
    matched = asm.ret(guarded.matched)
    entry = asm.ret(guarded.otherwise)
    for alternative in reversed(guarded.alternatives):
        target = matched
        for test in reversed(alternative):
            target = _test(asm, test, target, entry)
        entry = target
    return entry


def _test(asm: Assembler, test: Test, holds: Label, fails: Label) -> Label:
    if isinstance(test, Member | AtLeast) and test.negated:
        holds, fails = fails, holds
    match test:
        case Member():
            return _member(asm, test, holds, fails)
        case AtLeast():
            return _at_least(asm, test, holds, fails)
        case Behind():
            near = _near(asm, test.moved, holds, fails)
            found = _search(asm, [(address, near) for address in test.addresses], fails)
            return _distance(asm, test.moved, found)
        case Inside():
            near = _near(asm, test.moved, holds, fails)
            within = asm.jump(Opcode.JGE_K, 0, fails, near, (test.moved, Part.SIZE))
            return _distance(asm, test.moved, within)


def _distance(asm: Assembler, moved: int, then: Label) -> Label:
    """Load how far the instruction pointer is from what was moved, modulo 4 GiB, and go on at `then`."""
    return asm.load(INSTRUCTION_POINTER_OFFSET, asm.subtract((moved, Part.LOW), then))


def _near(asm: Assembler, moved: int, holds: Label, fails: Label) -> Label:
    """Tell whether the distance is less than 4 GiB: the high half is the same, or one more after a carry."""
    low, high = INSTRUCTION_POINTER_OFFSET, INSTRUCTION_POINTER_OFFSET + 4
    same = asm.load(high, asm.jump(Opcode.JEQ_K, 0, holds, fails, (moved, Part.HIGH)))
    carried = asm.load(high, asm.jump(Opcode.JEQ_K, 1, holds, fails, (moved, Part.HIGH)))
    return asm.load(low, asm.jump(Opcode.JGE_K, 0, same, carried, (moved, Part.LOW)))


def _member(asm: Assembler, test: Member, holds: Label, fails: Label) -> Label:
    """The high half chooses a set of low halves; mostly there is one set, and so one comparison."""
    groups: dict[int, list[int]] = {}
    for value in sorted(test.values):
        groups.setdefault(value >> 32, []).append(value & _LOW)
    targets = [
        (high, _half(asm, test.field, test.mask & _LOW, [(low, holds) for low in lows], fails))
        for high, lows in groups.items()
    ]
    return _half(asm, test.field + 4, test.mask >> 32, targets, fails)


def _half(asm: Assembler, offset: int, mask: int, targets: list[tuple[int, Label]], fails: Label) -> Label:
    """Go to the target whose value the masked word at `offset` has; the values lie within the mask."""
    if mask == 0:
        return targets[0][1]
    found = _search(asm, targets, fails)
    return asm.load(offset, found if mask == _LOW else asm.bit_and(mask, found))


def _search(asm: Assembler, targets: list[tuple[int, Label]], fails: Label) -> Label:
    """Go to the target of the accumulator's value, found by halving."""
    if len(targets) == 1:
        value, target = targets[0]
        return asm.jump(Opcode.JEQ_K, value, target, fails)
    middle = len(targets) // 2
    upper = _search(asm, targets[middle:], fails)
    return asm.jump(Opcode.JGE_K, targets[middle][0], upper, _search(asm, targets[:middle], fails))


def _at_least(asm: Assembler, test: AtLeast, holds: Label, fails: Label) -> Label:
    high, low = test.bound >> 32, test.bound & _LOW
    if low == 0:
        return asm.load(test.field + 4, asm.jump(Opcode.JGE_K, high, holds, fails))
    equal_high = asm.load(test.field, asm.jump(Opcode.JGE_K, low, holds, fails))
    at_most = asm.jump(Opcode.JEQ_K, high, equal_high, fails) if high else equal_high
    return asm.load(test.field + 4, asm.jump(Opcode.JGT_K, high, holds, at_most))
