"""The table of x86_64 is the kernel's, and tables refuse what they do not have."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.errors import ProfileError
from shim.syscalls import (
    FALLBACKS,
    IMPLIED,
    NUMBER_SPACE,
    SyscallTable,
    UnknownSyscallError,
    table,
    with_fallbacks,
)
from shim.syscalls.generate import merged, module_source, tbl_numbers, unistd_numbers, x32_bit

ROOT = Path(__file__).parents[3]
X86_64 = table("x86_64")
AARCH64 = table("aarch64")
CROSS_HEADER = Path("/usr/aarch64-linux-gnu/include/asm-generic/unistd.h")
HOST_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def test_what_everybody_knows() -> None:
    known = {"read": 0, "execve": 59, "openat": 257, "seccomp": 317, "clone3": 435, "mseal": 462}
    assert {name: X86_64.number(name) for name in known} == known
    assert (X86_64.kernel, X86_64.highest, len(X86_64.names)) == ("6.18", 469, 383)
    assert (X86_64.audit_arch, X86_64.foreign_from) == (0xC000_003E, 0x4000_0000)


def test_what_everybody_knows_of_aarch64() -> None:
    known = {
        "read": 63,
        "execve": 221,
        "openat": 56,
        "seccomp": 277,
        "clone3": 435,
        "exit_group": 94,
        "mseal": 462,
    }
    assert {name: AARCH64.number(name) for name in known} == known
    assert (AARCH64.kernel, AARCH64.highest, len(AARCH64.names)) == ("6.18", 469, 325)
    assert (AARCH64.audit_arch, AARCH64.foreign_from) == (0xC000_00B7, NUMBER_SPACE)


def test_newer_calls_have_one_number_everywhere() -> None:
    newer = {name: number for name, number in X86_64.numbers.items() if number >= 424}
    assert {name: AARCH64.numbers.get(name, number) for name, number in newer.items()} == newer
    assert set(AARCH64.numbers) <= set(X86_64.numbers)


def test_every_call_of_the_cross_header_is_in_the_table() -> None:
    if not CROSS_HEADER.exists():
        pytest.skip(f"{CROSS_HEADER} is not installed (apt install linux-libc-dev-arm64-cross)")
    generic = unistd_numbers(CROSS_HEADER.read_text())
    both = {name: number for name, number in generic.items() if name in AARCH64.numbers}
    assert len(both) > 290
    assert {name: AARCH64.number(name) for name in both} == both


def test_names_and_numbers_are_inverse() -> None:
    assert {name: X86_64.name(number) for number, name in X86_64.names.items()} == {
        name: name for name in X86_64.numbers
    }
    assert list(X86_64) == sorted(X86_64.names)


def test_every_call_of_the_hosts_header_is_in_the_table() -> None:
    if not HOST_HEADER.exists():
        pytest.skip(f"{HOST_HEADER} is not installed")
    host = unistd_numbers(HOST_HEADER.read_text())
    assert len(host) > 300
    assert {name: X86_64.numbers.get(name) for name in host} == host


def test_the_module_is_what_the_generator_writes() -> None:
    """The header is not in the tree; one with the same numbers must give the same bytes."""
    path = ROOT / "shim" / "syscalls" / "x86_64.py"
    later = (ROOT / "shim" / "syscalls" / "later.tbl").read_text()
    header = "".join(
        f"#define __NR_{name} {number}\n"
        for name, number in X86_64.numbers.items()
        if name not in tbl_numbers(later)
    )
    sources = path.read_text().splitlines()[0].removesuffix('."""').split("; from ")[1]
    numbers = merged(unistd_numbers(header), tbl_numbers(later))
    assert module_source(numbers, X86_64.kernel, X86_64.foreign_from, sources) == path.read_text()


def test_the_module_of_aarch64_is_what_the_generator_writes() -> None:
    path = ROOT / "shim" / "syscalls" / "aarch64.py"
    sources = path.read_text().splitlines()[0].removesuffix('."""').split("; from ")[1]
    text = module_source(AARCH64.numbers, AARCH64.kernel, None, sources, "aarch64")
    assert text == path.read_text()


def test_lines_of_x86_alone_are_not_of_aarch64() -> None:
    later = (ROOT / "shim" / "syscalls" / "later.tbl").read_text()
    assert tbl_numbers(later).keys() - tbl_numbers(later, "aarch64").keys() == {"uprobe"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("opnat", "openat"), ("clone33", "clone3"), ("Read", "read"), ("fstatat", "newfstatat")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UnknownSyscallError) as caught:
        X86_64.number(name, "line 3")
    assert caught.value.where == "line 3"
    assert nearest in caught.value.suggestions
    assert nearest in str(caught.value)


@pytest.mark.parametrize("name", ["", "zzzzzz", "read ", "__NR_read", "syscalls"])
def test_a_name_like_no_other_is_refused(name: str) -> None:
    with pytest.raises(UnknownSyscallError):
        X86_64.number(name)


@pytest.mark.parametrize("number", [-1, 337, 423, 470, 512, 0x4000_0000])
def test_an_unknown_number_is_refused(number: int) -> None:
    assert number not in X86_64
    with pytest.raises(UnknownSyscallError) as caught:
        X86_64.name(number)
    assert caught.value.suggestions == ()


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ProfileError) as caught:
        table("vax")
    assert caught.value.found == "'vax'"


@pytest.mark.parametrize("numbers", [{"a": 1, "b": 1}, {"a": -1}, {"a": 16}])
def test_a_table_that_contradicts_itself_is_refused(numbers: SyscallTable) -> None:
    with pytest.raises(ValueError, match="syscall"):
        SyscallTable.of("kettle", "0", numbers, audit_arch=1, foreign_from=16)


def test_headers_and_tables_are_read() -> None:
    header = (
        "#ifndef X\n#define __NR_read 0\n#define __NR_write 1\n#ifdef __KERNEL__\n#define __NR_syscalls 463\n"
    )
    assert unistd_numbers(header) == {"read": 0, "write": 1}
    text = "# comment\n\n0\tcommon\tread\tsys_read\n134\t64\tuselib\n512\tx32\tioctl\n 5 common a b # note\n"
    assert tbl_numbers(text) == {"read": 0, "uselib": 134, "a": 5}
    assert x32_bit("/* x */\n#define __X32_SYSCALL_BIT\t0x40000000\n") == 0x4000_0000


@pytest.mark.parametrize("line", ["0 common", "read common 0", "common", "-1 common read"])
def test_a_line_that_is_no_entry_is_refused(line: str) -> None:
    with pytest.raises(ProfileError):
        tbl_numbers(f"# first\n{line}\n")


def test_a_header_without_the_x32_bit_is_refused() -> None:
    with pytest.raises(ProfileError):
        x32_bit("#define __NR_read 0\n")


@pytest.mark.parametrize("second", [{"read": 1}, {"other": 0}])
def test_sources_that_disagree_are_refused(second: dict[str, int]) -> None:
    with pytest.raises(ProfileError):
        merged({"read": 0}, second)


def test_sources_may_overlap() -> None:
    assert merged({"read": 0}, {"read": 0, "write": 1}) == {"read": 0, "write": 1}


def test_families_name_real_calls() -> None:
    assert {entry.name for entry in IMPLIED} == {"rt_sigreturn", "restart_syscall", "exit_group"}
    for entry in IMPLIED:
        assert X86_64.number(entry.name) >= 0
        assert entry.reason
        assert entry.source
    for fallback in FALLBACKS:
        assert X86_64.number(fallback.newer) != X86_64.number(fallback.older)
        assert fallback.sources
    assert len({fallback.newer for fallback in FALLBACKS}) == len(FALLBACKS)


def test_a_newer_call_brings_the_older() -> None:
    assert list(with_fallbacks(["clone3", "read"])) == ["clone"]
    assert with_fallbacks(["clone3", "clone"]) == {}
    assert with_fallbacks(["clone"]) == {}
    assert list(with_fallbacks(["pipe2"], libcs=["musl"])) == ["pipe"]
    assert with_fallbacks(["pipe2"], libcs=["glibc"]) == {}
    assert with_fallbacks(["clone3"], libcs=[]) == {}


def test_a_kernel_that_has_the_newer_call_needs_no_older() -> None:
    assert with_fallbacks(["clone3", "fchmodat2"], oldest_kernel=(5, 19)).keys() == {"fchmodat"}
    assert list(with_fallbacks(["clone3"], oldest_kernel=(5, 2))) == ["clone"]
    assert with_fallbacks(["clone3"], oldest_kernel=(5, 3)) == {}


@pytest.mark.live
def test_the_running_kernel_has_the_later_calls(kernel_answers: Callable[[int], bool]) -> None:
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    wanted = tuple(int(part) for part in X86_64.kernel.split("."))
    if release < wanted:
        pytest.skip(f"the kernel is older than {X86_64.kernel}")
    later = tbl_numbers((ROOT / "shim" / "syscalls" / "later.tbl").read_text())
    assert {name: kernel_answers(number) for name, number in later.items()} == dict.fromkeys(later, True)
    if release == wanted:
        assert not kernel_answers(X86_64.highest + 1)
