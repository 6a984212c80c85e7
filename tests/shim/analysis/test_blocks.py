"""Blocks: they tile the runs they are cut from, and each ends where its last instruction does."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from shim.analysis.program import Program, load_program
from shim.analysis.runs import Ending
from shim.elf.image import parse_elf
from shim.elf.process import load_process


@pytest.fixture(scope="module")
def busybox() -> Program:
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("busybox is not installed (busybox-static)")
    return load_program(load_process(parse_elf(Path(found).read_bytes(), found), None))


def test_blocks_tile_their_runs(busybox: Program) -> None:
    for function in busybox.reach.functions.values():
        for run in function.runs:
            blocks = busybox.blocks.in_run(run)
            assert (blocks[0].start, blocks[-1].end) == (run.start, run.end)
            assert all(one.end == other.start for one, other in pairwise(blocks))
            assert all(block.last == 0 or block.start <= block.last < block.end for block in blocks)


def test_a_block_ends_behind_its_last_instruction(busybox: Program) -> None:
    questions = busybox.questions
    for function in list(busybox.reach.functions.values())[:400]:
        for block in busybox.blocks.of(function):
            instructions = questions.disassembler.instructions(block.start, block.end)
            assert instructions[-1].next_ip == block.end
            assert block.last in {0, instructions[-1].ip}
            assert (block.ending == Ending.FALL) == (block.last == 0)


def test_an_edge_and_its_way_back(busybox: Program) -> None:
    graph = busybox.questions.graph
    seen = 0
    for function in list(busybox.reach.functions.values())[:400]:
        for block in busybox.blocks.of(function):
            for target in graph.after(block):
                behind = busybox.blocks.at(target)
                if behind is not None and target not in busybox.reach.functions:
                    seen += 1
                    assert block in graph.before(behind)
    assert seen > 1000


def test_behind_an_instruction_that_is_nowhere(busybox: Program) -> None:
    with pytest.raises(ValueError, match="no code there"):
        busybox.questions.disassembler.behind(16)


def test_starts_are_those_of_the_disassembler(busybox: Program) -> None:
    disassembler, functions = busybox.questions.disassembler, busybox.functions
    extents = {functions.extent(entry) for entry in sorted(busybox.reach.functions)[:200]}
    for extent in sorted(extents, key=lambda extent: extent.start):
        stop = min(extent.stop, extent.start + 4000)
        wanted = [instruction.ip for instruction in disassembler.instructions(extent.start, stop)]
        assert disassembler.starts(extent.start, stop) == wanted
    assert disassembler.starts(16, 32) == []
    assert disassembler.starts(extent.start, extent.start) == []
