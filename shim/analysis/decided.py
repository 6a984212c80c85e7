"""
Which way does a conditional branch go, when what it compares is constant?
"""

from __future__ import annotations

from shim.analysis.blocks import Block
from shim.analysis.frames import Listings
from shim.analysis.registers import NONE
from shim.analysis.runs import Ending
from shim.analysis.values import Values

MAX_CONSTANTS = 8
# What decides a branch is near; a long search would only end in not knowing.
MAX_STEPS = 200


def only_successor(block: Block, listings: Listings, values: Values) -> int | None:
    """
    Return the address that control always goes to behind the conditional branch that ends `block`.

    None where both ways are possible, or nothing is known.
    """
    if block.ending != Ending.BRANCH or block.target == block.end:
        return None
    comparison = listings.architecture.comparison(listings.listing(block).instructions)
    if comparison is None:
        return None
    if comparison.register == NONE:
        answer = values.loaded(block, comparison.ip, MAX_STEPS)
    else:
        answer = values.before(block, comparison.ip, comparison.register, comparison.mask, MAX_STEPS)
    if not answer.only_numbers() or not 0 < len(answer.values) <= MAX_CONSTANTS:
        return None
    ways = {comparison.taken(number) for number in answer.values}
    if len(ways) != 1 or None in ways:
        return None
    return block.target if ways.pop() else block.end
