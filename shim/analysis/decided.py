"""
Which way does a conditional branch go, when what it compares is constant?
"""

from __future__ import annotations

from iced_x86 import Instruction, Mnemonic, OpKind

from shim.analysis.blocks import Block
from shim.analysis.decode import Ending
from shim.analysis.frames import Listings
from shim.analysis.registers import FULL, GENERAL, HIGH_BYTES, SIZE
from shim.analysis.values import Values

MAX_CONSTANTS = 8
_UNSIGNED = {
    Mnemonic.JA: lambda a, b: a > b,
    Mnemonic.JAE: lambda a, b: a >= b,
    Mnemonic.JB: lambda a, b: a < b,
    Mnemonic.JBE: lambda a, b: a <= b,
}
_SIGNED = {
    Mnemonic.JG: lambda a, b: a > b,
    Mnemonic.JGE: lambda a, b: a >= b,
    Mnemonic.JL: lambda a, b: a < b,
    Mnemonic.JLE: lambda a, b: a <= b,
}


def only_successor(block: Block, listings: Listings, values: Values) -> int | None:
    """
    Return the address that control always goes to behind the conditional branch that ends `block`.

    None where both ways are possible, or nothing is known.
    """
    if block.ending != Ending.BRANCH or block.target == block.end:
        return None
    listing = listings.listing(block)
    if len(listing.instructions) < 2:
        return None
    compare, branch = listing.instructions[-2], listing.instructions[-1]
    if compare.mnemonic not in (Mnemonic.CMP, Mnemonic.TEST) or compare.op0_kind != OpKind.REGISTER:
        return None
    register = compare.op0_register
    if register not in GENERAL or register in HIGH_BYTES or compare.op1_kind == OpKind.MEMORY:
        return None
    if compare.op1_kind == OpKind.REGISTER and compare.op1_register != register:
        return None
    size = SIZE[register]
    mask = (1 << 8 * size) - 1
    answer = values.before(block, compare.ip, FULL[register], mask)
    if not answer.only_numbers() or not 0 < len(answer.values) <= MAX_CONSTANTS:
        return None
    ways = {_taken(branch, compare, number, size) for number in answer.values}
    if len(ways) != 1 or None in ways:
        return None
    return block.target if ways.pop() else block.end


def _taken(branch: Instruction, compare: Instruction, number: int, size: int) -> bool | None:
    """
    Whether the branch is taken when the register holds `number`; None for conditions that are not known here.
    """
    bits = 8 * size
    mask = (1 << bits) - 1
    same = compare.op1_kind == OpKind.REGISTER
    other = number if same else compare.immediate(1) & mask
    mnemonic = branch.mnemonic
    if compare.mnemonic == Mnemonic.TEST:
        number, other = number & other, 0
    if mnemonic in (Mnemonic.JE, Mnemonic.JNE):
        return (number == other) == (mnemonic == Mnemonic.JE)
    if mnemonic in _UNSIGNED:
        return bool(_UNSIGNED[mnemonic](number, other))
    if mnemonic in _SIGNED:
        return bool(_SIGNED[mnemonic](_signed(number, bits), _signed(other, bits)))
    if mnemonic in (Mnemonic.JS, Mnemonic.JNS):
        negative = _signed(number - other & mask, bits) < 0
        return negative == (mnemonic == Mnemonic.JS)
    return None


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number
