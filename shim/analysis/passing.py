"""
Who has an address behind a call that its holder meets: the callee, in a register or on the stack; the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from shim.analysis.architecture import Act
from shim.analysis.blocks import Block, Blocks
from shim.analysis.frames import REACH_OF_ADDRESS, Listing, Listings
from shim.analysis.graph import Graph
from shim.analysis.places import Place

# A register, or a place in a frame.
Holder: TypeAlias = int | Place


class EscapesError(Exception):
    """The address went somewhere that is not followed."""


class Passing:
    """Follows the holders of an address over calls."""

    def __init__(
        self, blocks: Blocks, graph: Graph, listings: Listings, *, go: Callable[[int], bool]
    ) -> None:
        self._blocks = blocks
        self._graph = graph
        self._listings = listings
        self._go = go
        self._architecture = listings.architecture
        self._conventions = listings.architecture.conventions

    def over_call(self, block: Block, holder: Holder, target: int | None) -> list[tuple[int, Holder]]:
        """Return where a holder goes on at a call of `target`: into it, and behind it if it survives."""
        following: list[tuple[int, Holder]] = []
        if isinstance(holder, tuple):
            if self._listings.address_taken(self._blocks.owner(block), holder):
                raise EscapesError
            passed = self._as_argument(block, holder, target)
            if passed is not None:
                following.append(passed)
        elif self._go(block.start) or holder in self._conventions.arguments:
            if target is None:
                raise EscapesError
            if self._blocks.at(target) is not None:
                following.append((target, holder))
        survives = isinstance(holder, tuple) or (
            holder in self._conventions.callee_saved and not self._go(block.start)
        )
        if survives and self._blocks.at(block.end) is not None:
            following.append((block.end, holder))
        return following

    def _as_argument(self, block: Block, holder: Place, target: int | None) -> tuple[int, Place] | None:
        """Return where the callee finds a place of the frame that may be its argument on the stack."""
        sp = self._listings.listing(block).frames[-1].sp
        if sp is None:
            raise EscapesError
        distance = holder[1] - sp[1]
        if holder[0] == self._blocks.owner(block).entry and sp[1] < 0 <= holder[1]:
            return None  # an argument of the caller itself, behind its return address
        if holder[0] != sp[0] or not 0 <= distance < REACH_OF_ADDRESS:
            return None
        if target is None:
            if self._is_read_behind(block, holder):
                return None
            raise EscapesError
        if self._blocks.at(target) is None:
            return None
        return target, (target, distance + self._conventions.pushed_by_call)

    def _is_read_behind(self, block: Block, place: Place) -> bool:
        """
        Whether the function loads from a place of its frame, as it left it, once a call is back.

        Such a place is a variable: the callee owns its arguments and may have written over them (System V ABI
        for AMD64 1.0, section 3.2.3, Parameter Passing; AAPCS64 2023Q3, section 6.8.2).
        """
        pending, seen = [block.end], {block.end}
        while pending:
            current = self._blocks.at(pending.pop())
            if current is None:
                continue
            act = self._first_access(self._listings.listing(current), place)
            if act == Act.LOAD:
                return True
            if act is None:
                following = set(self._graph.onward(current))
                pending += following - seen
                seen |= following
        return False

    def _first_access(self, listing: Listing, place: Place) -> int | None:
        """Return what the first instruction of a block to name a place of the frame does there, or None."""
        return next(
            (
                form.act
                for index, instruction in enumerate(listing.instructions)
                for form in self._architecture.forms(instruction)
                if listing.place(index, form) == place
            ),
            None,
        )
