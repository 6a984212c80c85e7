"""
Which functions can only end in abort()?

A function is doomed if control, once in it, surely gets to abort(): it neither returns nor ends the process
in an orderly way nor stays in a loop that calls others.  Where abort() is assumed not to be called, no doomed
function is ever entered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shim.analysis.blocks import Block
from shim.analysis.closure import closure, leading_to
from shim.analysis.decided import only_successor
from shim.analysis.numbers import KernelEntry, never_return
from shim.analysis.program import Program
from shim.analysis.reach import Function
from shim.analysis.runs import Ending, Run
from shim.syscalls import table

_SIGABRT = 6
# A function that ends in abort() only because of what it is called with is a small one.
MAX_DECIDED_BLOCKS = 160
MAX_BLOCKS = 1000
_CALLS = frozenset({Ending.CALL, Ending.CALL_INDIRECT})


def doomed(program: Program, entries: Iterable[KernelEntry]) -> set[int]:
    """Return the entries of all doomed functions."""
    return _Doom(program, entries).find()


class _Doom:
    """The search: from abort() to its callers, from doomed callers to theirs."""

    def __init__(self, program: Program, entries: Iterable[KernelEntry]) -> None:
        self._program = program
        self._found: set[int] = set()
        final = never_return(table(program.architecture.name))
        self._exits = frozenset(
            entry.address for entry in entries if final & set(entry.numbers) or entry.unresolved
        )
        self._acting = _acting(program)
        self._away = _away(program)

    def find(self) -> set[int]:
        """Return the entries of all doomed functions."""
        functions = self._program.reach.functions.values()
        last = {function.entry for function in functions if _aborts(self._program, function)}
        endless = [function for function in functions if not function.returns]
        while last:
            self._found |= last
            callers = {
                caller.entry: caller
                for entry in last
                for block in self._program.questions.graph.callers(entry)
                if (caller := self._program.blocks.owner(block)).returns
            }
            candidates = [*endless, *callers.values()]
            last = {f.entry for f in candidates if f.entry not in self._found and self._is_doomed(f)}
        return self._found

    def _is_doomed(self, function: Function) -> bool:
        if self._surely(function, decide=False):
            return True
        small = len(self._program.blocks.of(function)) <= MAX_DECIDED_BLOCKS
        return small and self._surely(function, decide=True)

    def _surely(self, function: Function, *, decide: bool) -> bool:
        """Whether control surely gets from the entry of a function to a doomed one."""
        first = self._program.blocks.at(function.entry)
        if first is None:
            return False
        flow: dict[int, list[int]] = {}
        pending, acting = [first], []
        while pending:
            block = pending.pop()
            if block.start in flow:
                continue
            following = self._following(block, decide=decide)
            if following is None or len(flow) > MAX_BLOCKS:
                return False
            flow[block.start] = [target.start for target in following]
            pending += following
            if following and self._acts(block):
                acting.append(block.start)
        # A call that is repeated until no signal interrupts it is a loop of one block.
        return not any(_in_circle(start, flow) for start in acting if start not in flow[start])

    def _following(self, block: Block, *, decide: bool) -> list[Block] | None:
        """
        Return where control goes on; nothing where it is doomed, None where it leaves the function alive.
        """
        blocks, graph = self._program.blocks, self._program.questions.graph
        if block.ending == Ending.RETURN or any(block.start <= exit_ < block.end for exit_ in self._exits):
            return None
        if block.ending in {Ending.STOP, Ending.INVALID}:
            return []
        if block.ending in _CALLS:
            callee = graph.callee(block)
            if callee in self._away:
                return None
            targets: Sequence[int] = () if callee in self._found else (block.end,)
        else:
            targets = graph.after(block)
            if not targets:
                return None
            if decide:
                only = only_successor(block, self._program.questions.listings, self._program.values)
                targets = targets if only is None else (only,)
        following = [blocks.at(target) for target in targets if target not in self._found]
        return [behind for behind in following if behind is not None] if None not in following else None

    def _acts(self, block: Block) -> bool:
        """Whether a block may enter the kernel, so that a loop around it may be a main loop."""
        run = self._program.reach.containing(block.start)
        if run is None or any(block.start <= address < block.end for address, _ in run.kernel_entries):
            return True
        if block.ending not in _CALLS:
            return False
        callee = self._program.questions.graph.callee(block)
        return callee is None or callee in self._acting


def _aborts(program: Program, function: Function) -> bool:
    """
    Whether a function is abort().

    It does not return, raises SIGABRT, and falls back on an instruction that traps.
    """
    if function.returns or not any(run.ending == Ending.STOP for run in function.runs):
        return False
    for block in program.blocks.of(function):
        if block.ending == Ending.CALL:
            first = program.architecture.conventions.arguments[0]
            answer = program.values.before(block, block.last, first, 0xFFFF_FFFF)
            if answer.only_numbers() and set(answer.values) == {_SIGABRT}:
                return True
    return False


def _acting(program: Program) -> set[int]:
    """Return the functions that may enter the kernel, themselves or through what they use."""
    reach = program.reach
    functions = reach.functions.values()
    acting = [function.entry for function in functions if any(_acts(program, run) for run in function.runs)]
    return leading_to(
        acting, ((function.entry, [used for _, used in function.uses]) for function in functions)
    )


def _acts(program: Program, run: Run) -> bool:
    """Whether a run enters the kernel, or goes where nobody knows."""
    chosen = run.target in program.memory.relocations.resolvers  # string functions for this processor
    unknown = run.ending == Ending.JUMP_INDIRECT and not chosen and run.last not in program.reach.jump_targets
    return bool(run.kernel_entries or run.indirect_calls or unknown)


def _away(program: Program) -> set[int]:
    """
    Return the functions that may continue in another frame.

    That is longjmp, unwinding, and who calls such a function and returns.
    """
    found: set[int] = set()
    for image in program.process.images:
        for segment in image.segments:
            code = program.memory.read(segment.address, segment.file_size) if segment.executable else b""
            for address in program.architecture.frame_switches(code, segment.address):
                run = program.reach.containing(address)
                if run is not None and any(i.ip == address for i in program.questions.instructions(run)):
                    found.add(program.reach.owner[run.start].entry)
    pending = list(found)
    while pending:
        for ip in program.reach.callers.get(pending.pop(), ()):
            run = program.reach.containing(ip)
            caller = None if run is None else program.reach.owner[run.start]
            if caller is not None and caller.entry not in found and caller.returns:
                found.add(caller.entry)
                pending.append(caller.entry)
    return found


def _in_circle(start: int, flow: dict[int, list[int]]) -> bool:
    return start in closure(flow[start], lambda block: flow.get(block, ()))
