"""
How do labels become jumps of eight bits?

Instructions are placed from the last to the first.  Then every jump goes to something already placed, its
distance is known at once, and it never has to be revised: a target more than 255 instructions away gets a
copy nearby if it is a return, else a `JA` nearby, which has 32 bits.  Equal instructions with equal targets
are placed once: what follows a label depends on the accumulator and the call alone, so it may be shared.
"""

from __future__ import annotations

from typing import NewType, TypeAlias

from shim.filter.program import FilterProgram, Instruction, Opcode, Part, Relocation

Waiting: TypeAlias = tuple[int, Part]
"""What an operand waits for until the process exists."""

Label = NewType("Label", int)
"""A placed instruction, counted from the last one."""

_FARTHEST = 255


class Assembler:
    """A program under construction, back to front."""

    def __init__(self) -> None:
        self._placed: list[Instruction] = []
        self._known: dict[tuple[object, ...], Label] = {}
        self._waiting: dict[Label, Waiting] = {}
        self._bridges: dict[Label, Label] = {}

    def ret(self, action: int) -> Label:
        """Return a label that ends the program with `action`."""
        return self._once((Opcode.RET_K, action), Instruction(Opcode.RET_K, 0, 0, action))

    def load(self, offset: int, then: Label) -> Label:
        """Return a label that loads the word at `offset` of `seccomp_data` and goes on at `then`."""
        return self._straight(Opcode.LD_ABS, offset, then)

    def bit_and(self, mask: int, then: Label) -> Label:
        """Return a label that keeps the bits of `mask` in the accumulator and goes on at `then`."""
        return self._straight(Opcode.AND_K, mask, then)

    def subtract(self, waiting: Waiting, then: Label) -> Label:
        """Return a label that takes from the accumulator what is waited for, and goes on at `then`."""
        return self._straight(Opcode.SUB_K, 0, then, waiting)

    def opaque(self, then: Label) -> Label:
        """Return a label that changes nothing that counts, but ends the kernel's search for constants."""
        return self._straight(Opcode.TAX, 0, then)

    def jump(  # the fields of an instruction
        self, code: Opcode, k: int, holds: Label, fails: Label, waiting: Waiting | None = None
    ) -> Label:
        """
        Return a label that compares the accumulator with `k` and goes on at `holds` or `fails`.

        With `waiting`, that is added to `k` before the filter is installed.
        """
        key = (code, k, holds, fails, waiting)
        if key not in self._known:
            # The bridge for `fails` may push the jump one further away from `holds`.
            near_holds = self._near(holds, _FARTHEST - 1)
            near_fails = self._near(fails, _FARTHEST)
            jt, jf = self._distance(near_holds), self._distance(near_fails)
            self._known[key] = self._place(Instruction(code, jt, jf, k), waiting)
        return self._known[key]

    def program(self, entry: Label) -> FilterProgram:
        """Return the program that starts at `entry`."""
        self._adjacent(entry)
        last = len(self._placed) - 1
        relocations = (Relocation(last - label, *waiting) for label, waiting in self._waiting.items())
        return FilterProgram(tuple(reversed(self._placed)), tuple(sorted(relocations)))

    def _straight(self, code: Opcode, k: int, then: Label, waiting: Waiting | None = None) -> Label:
        key = (code, k, then, waiting)
        if key not in self._known:
            self._adjacent(then)
            self._known[key] = self._place(Instruction(code, 0, 0, k), waiting)
        return self._known[key]

    def _once(self, key: tuple[object, ...], instruction: Instruction) -> Label:
        if key not in self._known:
            self._known[key] = self._place(instruction)
        return self._known[key]

    def _place(self, instruction: Instruction, waiting: Waiting | None = None) -> Label:
        self._placed.append(instruction)
        label = Label(len(self._placed) - 1)
        if waiting is not None:
            self._waiting[label] = waiting
        return label

    def _distance(self, label: Label) -> int:
        """Return how many instructions lie between the next one to be placed and `label`."""
        return len(self._placed) - label - 1

    def _adjacent(self, label: Label) -> None:
        if self._distance(label):
            self._place(self._copy_or_bridge(label))

    def _near(self, label: Label, farthest: int) -> Label:
        if self._distance(label) <= farthest:
            return label
        bridge = self._bridges.get(label)
        if bridge is None or self._distance(bridge) > farthest:
            bridge = self._bridges[label] = self._place(self._copy_or_bridge(label))
        return bridge

    def _copy_or_bridge(self, label: Label) -> Instruction:
        target = self._placed[label]
        return target if target.code == Opcode.RET_K else Instruction(Opcode.JA, 0, 0, self._distance(label))
