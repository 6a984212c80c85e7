"""
What is taken out of a profile because it never runs, and what must stay in because it may?

Each program that loses a call has a twin, changed as little as possible, that keeps it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from shim.analysis.derive import derive
from shim.analysis.dominators import ROOT, dominators
from shim.profile.profile import Profile

Assemble = Callable[..., bytes]

END = "\n mov eax, 60\n syscall\n hlt"
GUARDED = "\nf: test edi, edi\n je 1f\n call g\n1: ret\ng: mov eax, 39\n syscall\n ret"


def numbers(profile: Profile) -> set[int]:
    return {rule.number for rule in profile.phases[0].rules if rule.sites}


# source, whether getppid (39 is getpid) stays
DECIDED = {
    "a parameter that is always 0": ("_start: xor edi, edi\n call f" + END + GUARDED, False),
    "a parameter that is once 1": ("_start: xor edi, edi\n call f\n mov edi, 1\n call f" + END + GUARDED, True),
    "a parameter that is not known": ("_start: mov edi, [rsp]\n call f" + END + GUARDED, True),
    "a function whose address is taken": (
        "_start: lea rax, [rip+f]\n push rax\n xor edi, edi\n call f\n mov edi, 1\n call [rsp]" + END + GUARDED,
        True,
    ),
    "a comparison with something between it and the branch": (
        "_start: xor edi, edi\n call f"
        + END
        + "\nf: test edi, edi\n mov ecx, 5\n je 1f\n call g\n1: ret\ng: mov eax, 39\n syscall\n ret",
        False,
    ),
    "a constant string": (
        "_start: lea rdi, [rip+s]\n call f"
        + END
        + "\nf: cmp byte ptr [rdi], 0\n je 1f\n call g\n1: ret\ng: mov eax, 39\n syscall\n ret\n"
        + '.section .rodata\ns: .asciz ""',
        False,
    ),
    "a variable that nobody writes": (
        "_start: cmp dword ptr [rip+v], 0\n je 1f\n call g\n1:" + END
        + "\ng: mov eax, 39\n syscall\n ret\n.bss\n.balign 8\nv: .zero 8",
        False,
    ),
    "a variable that is written by its name": (
        "_start: mov eax, [rsp]\n mov [rip+v], eax\n cmp dword ptr [rip+v], 0\n je 1f\n call g\n1:" + END
        + "\ng: mov eax, 39\n syscall\n ret\n.bss\n.balign 8\nv: .zero 8",
        True,
    ),
    "a variable that is written through a pointer in data": (
        "_start: mov rcx, [rip+p]\n mov dword ptr [rcx], 1\n cmp dword ptr [rip+v], 0\n je 1f\n call g\n1:" + END
        + "\ng: mov eax, 39\n syscall\n ret\n.data\n.balign 8\np: .quad v\n.bss\n.balign 8\nv: .zero 8",
        True,
    ),
    "a variable of an object that a table points to": (
        "_start: and edi, 1\n lea rcx, [rip+t]\n mov rcx, [rcx+rdi*8]\n mov dword ptr [rcx], 1\n"
        " cmp dword ptr [rip+v], 0\n je 1f\n call g\n1:" + END
        + "\ng: mov eax, 39\n syscall\n ret\n.data\n.balign 8\nt: .quad v, v\n.bss\n.balign 8\nv: .zero 8",
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECIDED)
@pytest.mark.parametrize("strip", [(), ("-s",)], ids=["symbols", "stripped"])
def test_branches_that_constants_decide(assemble: Assemble, name: str, strip: tuple[str, ...]) -> None:
    source, stays = DECIDED[name]
    assert (39 in numbers(derive(assemble(source, *strip), "program"))) == stays


# A function that checks an object's header, one that maps objects, and getppid's neighbour behind it.
OPENING = (
    "\nmapper: call verify\n ret\nverify: lea rax, [rip+text]\n ret\n"
    '.section .rodata\ntext: .asciz "invalid ELF header"'
)
BEHIND = "\n mov eax, 39\n syscall\n ret"

# source, whether getpid stays if no shared object is ever opened
NEVER_ENTERED = {
    "behind its call": ("_start: call f" + END + "\nf: call mapper" + BEHIND, False),
    "on the other side of a branch": (
        "_start: mov edi, [rsp]\n call f" + END + "\nf: test edi, edi\n je 1f\n call mapper\n1:" + BEHIND,
        True,
    ),
    "behind a branch to it": (
        "_start: mov edi, [rsp]\n test edi, edi\n je 1f\n call mapper\n1: call f" + END
        + "\nf: test edi, edi\n je mapper" + BEHIND,
        True,
    ),
    "behind a call of it or of another": (
        "_start: mov edi, [rsp]\n and edi, 1\n call f" + END
        + "\nf: lea rcx, [rip+t]\n call [rcx+rdi*8]" + BEHIND + "\ng: ret"
        + "\n.data\n.balign 8\nt: .quad mapper, g\n.text",
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEVER_ENTERED)
def test_what_comes_behind_a_function_that_is_never_entered(assemble: Assemble, name: str) -> None:
    source, stays = NEVER_ENTERED[name]
    program = assemble(source + OPENING)
    assert (39 in numbers(derive(program, "program"))) == stays
    assert 39 in numbers(derive(program, "program", assume=()))


ARGUMENTS = {
    "one constant": ("_start: mov edi, 2\n mov eax, 41\n syscall" + END, {2}),
    "two ways": (
        "_start: mov rcx, [rsp]\n mov edi, 1\n test rcx, rcx\n je 1f\n mov edi, 10\n1: mov eax, 41\n syscall" + END,
        {1, 10},
    ),
    "two places": (
        "_start: mov edi, 1\n mov eax, 41\n syscall\n mov edi, 16\n mov eax, 41\n syscall" + END,
        {1, 16},
    ),
    "not known": ("_start: mov rdi, [rsp]\n mov eax, 41\n syscall" + END, set()),
    "known at one place only": (
        "_start: mov edi, 1\n mov eax, 41\n syscall\n mov rdi, [rsp]\n mov eax, 41\n syscall" + END,
        set(),
    ),
    "by a wrapper for several calls": (
        "_start: mov edi, 41\n mov esi, 1\n call w\n mov edi, 1\n call w" + END
        + "\nw: mov eax, edi\n mov edi, esi\n syscall\n ret",
        set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_are_ever_passed(assemble: Assemble, name: str) -> None:
    source, values = ARGUMENTS[name]
    (rule,) = [rule for rule in derive(assemble(source), "program").phases[0].rules if rule.number == 41]
    assert {condition.value for (condition,) in rule.conditions} == values
    assert all(condition.mask == 0xFFFF_FFFF for (condition,) in rule.conditions)


@pytest.mark.parametrize(
    ("timeout", "restarted"), [("xor r10d, r10d", False), ("mov r10, rsp", True), ("mov r10, [rsp]", True)]
)
def test_a_wait_without_a_time_limit_is_not_restarted(
    assemble: Assemble,
    timeout: str,
    restarted: bool,  # noqa: FBT001  # a column of the table
) -> None:
    source = f"_start: {timeout}\n mov eax, 202\n syscall" + END
    rules = {rule.name for rule in derive(assemble(source), "program").phases[0].rules}
    assert ("restart_syscall" in rules) == restarted


graphs = st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=4), max_size=13)


def reached(root: int, graph: dict[int, list[int]], without: int) -> set[int]:
    found, pending = set(), [root]
    while pending:
        node = pending.pop()
        if node not in found and node != without:
            found.add(node)
            pending += graph.get(node, [])
    return found


@given(graphs)
def test_dominators_are_what_every_way_leads_through(graph: dict[int, list[int]]) -> None:
    above = dominators([0], graph)
    everything = reached(0, graph, -2)
    assert set(above) - {ROOT} == everything
    for node in everything:
        chain, current = set(), node
        while current != ROOT:
            chain.add(current)
            current = above[current]
        assert chain == {other for other in everything if node not in reached(0, graph, other)}
