"""The C that reads foreign bytes: the filter machine against kernel and proof, SHA-256, and sanitizers."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from shim.launch._native import ffi, lib
from tests.native.launching import (
    ALLOW,
    ARCH,
    ERRNO_PERM,
    EXEC,
    KILL,
    LOG,
    NOTIFY,
    TRACE,
    TRAP,
    all_but,
    by_number,
    instruction,
    only,
    plan_for,
)

REFUSED_ACTIONS = (KILL, 0, TRAP, ERRNO_PERM, NOTIFY)
KNOWN_CODES = (
    *(0x20, 0x80, 0x81, 0x00, 0x01, 0x06, 0x16, 0x07, 0x87, 0x60, 0x61, 0x02, 0x03),
    *(
        operation | source
        for operation in (0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0xA4)
        for source in (0, 8)
    ),
    *(0x84, 0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D),
)
CONSTANTS = st.one_of(
    st.sampled_from([0, 1, 4, 8, 15, 16, 31, 32, 59, 60, 64, 322, ARCH, ALLOW, NOTIFY, KILL, 0x40000000]),
    st.integers(0, 2**32 - 1),
)


@st.composite
def instructions(draw: st.DrawFn, codes: tuple[int, ...] = KNOWN_CODES) -> bytes:
    jumps = st.integers(0, 4)
    return instruction(draw(st.sampled_from(codes)), draw(jumps), draw(jumps), draw(CONSTANTS))


def filters(codes: tuple[int, ...] = KNOWN_CODES) -> st.SearchStrategy[bytes]:
    """Short programs that mostly end as a filter must, so that many are well-formed."""
    body = st.lists(instructions(codes), min_size=0, max_size=14).map(b"".join)
    last = st.sampled_from(
        [instruction(0x06, 0, 0, ALLOW), instruction(0x06, 0, 0, NOTIFY), instruction(0x16, 0, 0, 0), b""]
    )
    return st.tuples(body, last).map(b"".join).filter(len)


# Programs of sensible parts: comparisons of loaded words and returns, with a look at every kind of load.
SENSIBLE = (0x20, 0x20, 0x20, 0x15, 0x25, 0x35, 0x45, 0x1D, 0x54, 0x74, 0x07, 0x87, 0x06, 0x02, 0x60, 0x14)


def count_of(rules: bytes) -> int:
    return len(rules) // 8


def is_well_formed(rules: bytes) -> bool:
    states = ffi.new("struct bpf_state[]", max(1, count_of(rules)))
    return bool(lib.bpf_check(rules, count_of(rules), states) == count_of(rules))


def verdict(
    rules: bytes, number: int, arch: int = ARCH, address: int = 0, arguments: tuple[int, ...] = (0,) * 6
) -> int:
    call = ffi.new(
        "struct uapi_seccomp_data *", [ffi.cast("int32_t", number), arch, address, list(arguments)]
    )
    return int(lib.bpf_run(rules, count_of(rules), call))


def proves(
    rules: bytes, numbers: tuple[int, int], archs: tuple[int, int] = (ARCH, ARCH), actions: int | None = None
) -> bool:
    states = ffi.new("struct bpf_state[]", count_of(rules))
    wanted = lib.BPF_REFUSALS if actions is None else actions
    return bool(lib.bpf_prove(rules, count_of(rules), numbers, archs, wanted, states) == count_of(rules))


def kernel_accepts(rules: bytes) -> bool:
    """Install the filter in a child that does nothing else; it may not even be allowed to exit."""
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(rules, len(rules))
    program = ctypes.create_string_buffer(
        struct.pack("<HxxxxxxQ", count_of(rules), ctypes.addressof(room)), 16
    )
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        libc.prctl(38, 1, 0, 0, 0)
        # A failure of the filter is EINVAL whatever the flags; the unknown operation after it never runs.
        done = libc.syscall(317, 1, 0, program)
        if done != 0:
            os.write(write_end, b"refused")
        os._exit(0)
    os.close(write_end)
    said = os.read(read_end, 16)
    os.close(read_end)
    os.waitpid(child, 0)
    return said != b"refused"


@settings(max_examples=150, deadline=None)
@given(filters())
def test_well_formed_is_what_the_kernel_accepts(rules: bytes) -> None:
    assert is_well_formed(rules) == kernel_accepts(rules)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        instruction(0x05, 0, 0, 0),
        instruction(0x06, 0, 0, 0) + instruction(0x20, 0, 0, 0),
        instruction(0x20, 0, 0, 64) + instruction(0x06, 0, 0, 0),
        instruction(0x20, 0, 0, 2) + instruction(0x06, 0, 0, 0),
        instruction(0x28, 0, 0, 0) + instruction(0x06, 0, 0, 0),
        instruction(0x34, 0, 0, 0) + instruction(0x06, 0, 0, 0),
        instruction(0x64, 0, 0, 32) + instruction(0x06, 0, 0, 0),
        instruction(0x94, 0, 0, 3) + instruction(0x06, 0, 0, 0),
        instruction(0x60, 0, 0, 0) + instruction(0x06, 0, 0, 0),
        instruction(0x02, 0, 0, 16) + instruction(0x06, 0, 0, 0),
        instruction(0x05, 0, 0, 0xFFFFFFFF) + instruction(0x06, 0, 0, 0),
        instruction(0x15, 1, 0, 0) + instruction(0x06, 0, 0, 0),
        instruction(0x06, 0, 0, 0) * 4097,
    ],
)
def test_what_is_not_well_formed(damage: bytes) -> None:
    assert not is_well_formed(damage) or count_of(damage) == 0
    if damage:
        assert not kernel_accepts(damage)


def interpret(rules: bytes, data: bytes) -> int:
    """The kernel's machine once more, as short as Python allows."""
    program = list(struct.iter_unpack("<HBBI", rules))
    accumulator = index = at = 0
    memory = [0] * 16
    while True:
        code, jt, jf, k = program[at]
        at += 1
        operand = index if code & 8 else k
        kind, operation = code & 7, code & 0xF0
        if kind == 6:
            return accumulator if code == 0x16 else k
        if kind in (0, 1):
            value: dict[int, Callable[[], int]] = {
                0x20: lambda: struct.unpack_from("<I", data, k)[0],
                0x60: lambda: memory[k],
                0x80: lambda: 64,
            }
            loaded = value[code & 0xE0]() if code & 0xE0 in value else k
            accumulator, index = (loaded, index) if kind == 0 else (accumulator, loaded)
        elif kind in (2, 3):
            memory[k] = accumulator if kind == 2 else index
        elif kind == 7:
            accumulator, index = (accumulator, accumulator) if code == 7 else (index, index)
        elif kind == 5:
            tests = {0x10: accumulator == operand, 0x20: accumulator > operand, 0x30: accumulator >= operand}
            at += k if operation == 0 else (jt if tests.get(operation, accumulator & operand != 0) else jf)
        else:
            if operation == 0x30 and operand == 0:
                return 0
            results: dict[int, Callable[[], int]] = {
                0x00: lambda: accumulator + operand,
                0x10: lambda: accumulator - operand,
                0x20: lambda: accumulator * operand,
                0x30: lambda: accumulator // operand,
                0x40: lambda: accumulator | operand,
                0x50: lambda: accumulator & operand,
                0x60: lambda: accumulator << (operand & 31),
                0x70: lambda: accumulator >> (operand & 31),
                0x80: lambda: -accumulator,
                0xA0: lambda: accumulator ^ operand,
            }
            accumulator = results[operation]() & 0xFFFFFFFF


CALLS = st.tuples(
    st.sampled_from([0, 3, 59, 60, 322, 0x40000000 | 520, 0xFFFFFFFF]) | st.integers(0, 2**32 - 1),
    st.sampled_from([ARCH, 0x40000003]),
    st.integers(0, 2**64 - 1),
    st.tuples(*[st.integers(0, 2**64 - 1)] * 6),
)


@settings(max_examples=400, deadline=None)
@given(filters(), CALLS)
def test_verdict_is_the_machines(rules: bytes, call: tuple[int, int, int, tuple[int, ...]]) -> None:
    number, arch, address, arguments = call
    if is_well_formed(rules):
        data = struct.pack("<IIQ6Q", number, arch, address, *arguments)
        assert verdict(rules, *call) == interpret(rules, data)


@settings(max_examples=600, deadline=None)
@given(filters(SENSIBLE), CALLS, st.integers(0, 9))
def test_what_is_proven_holds(rules: bytes, call: tuple[int, int, int, tuple[int, ...]], around: int) -> None:
    number, arch, address, arguments = call
    low, high = max(0, number - around), min(2**32 - 1, number + around)
    if is_well_formed(rules) and proves(rules, (low, high), (arch, arch)):
        assert verdict(rules, number, arch, address, arguments) & 0xFFFF0000 in {
            action & 0xFFFF0000 for action in REFUSED_ACTIONS
        }


@pytest.mark.parametrize("action", REFUSED_ACTIONS)
def test_refusals_are_proven(action: int) -> None:
    rules = by_number(dict.fromkeys(EXEC, action), ALLOW)
    assert all(proves(rules, (number, number)) for number in EXEC)
    assert not proves(rules, (58, 60))
    assert proves(rules, (0, 2**32 - 1), (0, ARCH - 1))
    assert proves(rules, (0, 2**32 - 1), (ARCH + 1, 2**32 - 1))
    assert proves(rules, (0x40000000, 2**32 - 1))
    assert not proves(rules, (0x3FFFFFFF, 2**32 - 1))


@pytest.mark.parametrize("action", [ALLOW, LOG, TRACE])
def test_what_lets_a_call_through_is_no_refusal(action: int) -> None:
    assert not proves(by_number(dict.fromkeys(EXEC, action), KILL), (59, 59))


def test_argument_dependent_refusals_are_not_proven() -> None:
    """Refused unless the first argument is 7: for all arguments nothing is proven."""
    tail = instruction(0x20, 0, 0, 16) + instruction(0x15, 0, 1, 7) + instruction(0x06, 0, 0, ALLOW)
    rules = tail + instruction(0x06, 0, 0, KILL)
    assert verdict(rules, 59, arguments=(8, 0, 0, 0, 0, 0)) == KILL
    assert not proves(rules, (59, 59))


LOAD, SET, SET_INDEX, TO_INDEX, FROM_INDEX = 0x20, 0x00, 0x01, 0x07, 0x87
GREATER, ANY_BIT, EQUAL, GREATER_THAN_INDEX, JUMP = 0x25, 0x45, 0x15, 0x2D, 0x05


def program(*rows: tuple[int, int, int, int]) -> bytes:
    """Instructions, then two returns: refuse, allow."""
    ends = ((0x06, 0, 0, KILL), (0x06, 0, 0, ALLOW))
    return b"".join(instruction(*row) for row in (*rows, *ends))


RANGES = [
    (program((LOAD, 0, 0, 0), (GREATER, 1, 0, 60)), (50, 60), True),
    (program((LOAD, 0, 0, 0), (GREATER, 1, 0, 60)), (50, 61), False),
    (program((LOAD, 0, 0, 0), (0x35, 0, 1, 60)), (60, 70), True),
    (program((LOAD, 0, 0, 0), (0x35, 0, 1, 60)), (59, 70), False),
    (program((LOAD, 0, 0, 0), (ANY_BIT, 0, 1, 0x10)), (0x10, 0x1F), True),
    (program((LOAD, 0, 0, 0), (ANY_BIT, 0, 1, 0x10)), (0x10, 0x20), False),
    (program((LOAD, 0, 0, 0), (ANY_BIT, 1, 0, 0x10)), (0x20, 0x2F), True),
    (program((LOAD, 0, 0, 0), (ANY_BIT, 1, 0, 0x10)), (0x20, 0x30), False),
    # Is 60 greater than the number?  Then allow.
    (
        program((LOAD, 0, 0, 0), (TO_INDEX, 0, 0, 0), (SET, 0, 0, 60), (GREATER_THAN_INDEX, 1, 0, 0)),
        (60, 70),
        True,
    ),
    (
        program((LOAD, 0, 0, 0), (TO_INDEX, 0, 0, 0), (SET, 0, 0, 60), (GREATER_THAN_INDEX, 1, 0, 0)),
        (59, 70),
        False,
    ),
    # 1 in the index for 59, else 2; refuse 1.  And the same in the accumulator.
    (
        program(
            *(
                (LOAD, 0, 0, 0),
                (EQUAL, 0, 2, 59),
                (SET_INDEX, 0, 0, 1),
                (JUMP, 0, 0, 1),
                (SET_INDEX, 0, 0, 2),
            ),
            *((FROM_INDEX, 0, 0, 0), (EQUAL, 0, 1, 1)),
        ),
        *((59, 59), True),
    ),
    (
        program(
            *(
                (LOAD, 0, 0, 0),
                (EQUAL, 0, 2, 59),
                (SET_INDEX, 0, 0, 1),
                (JUMP, 0, 0, 1),
                (SET_INDEX, 0, 0, 2),
            ),
            *((FROM_INDEX, 0, 0, 0), (EQUAL, 0, 1, 1)),
        ),
        *((59, 60), False),
    ),
    (
        program(
            *((LOAD, 0, 0, 0), (EQUAL, 0, 2, 59), (SET, 0, 0, 1), (JUMP, 0, 0, 1), (SET, 0, 0, 2)),
            (EQUAL, 0, 1, 1),
        ),
        *((59, 60), False),
    ),
    # What went through memory, arithmetic or another word is not known.
    (program((LOAD, 0, 0, 0), (0x02, 0, 0, 3), (0x60, 0, 0, 3), (EQUAL, 0, 1, 59)), (59, 59), False),
    (program((LOAD, 0, 0, 8), (EQUAL, 0, 1, 59)), (59, 59), False),
    (program((LOAD, 0, 0, 0), (0x04, 0, 0, 1), (EQUAL, 0, 1, 60)), (59, 59), True),
    (program((LOAD, 0, 0, 0), (0x04, 0, 0, 1), (GREATER, 1, 0, 60)), (58, 59), False),
    (program((LOAD, 0, 0, 16), (0x54, 0, 0, 7), (GREATER, 1, 0, 7)), (0, 9), True),
    (program((LOAD, 0, 0, 16), (0x54, 0, 0, 7), (GREATER, 1, 0, 6)), (0, 9), False),
    (program((LOAD, 0, 0, 16), (0x74, 0, 0, 29), (GREATER, 1, 0, 7)), (0, 9), True),
    (program((LOAD, 0, 0, 16), (0x74, 0, 0, 29), (GREATER, 1, 0, 6)), (0, 9), False),
]


@pytest.mark.parametrize(("rules", "numbers", "proven"), RANGES)
def test_ranges_are_followed(rules: bytes, numbers: tuple[int, int], proven: bool) -> None:  # noqa: FBT001
    assert is_well_formed(rules)
    assert proves(rules, numbers) == proven


def kernel_answers(rules: bytes) -> int:
    """The errno that getppid gets under this filter, in a child."""
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(rules, len(rules))
    fprog = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", count_of(rules), ctypes.addressof(room)), 16)
    child = os.fork()
    if child == 0:
        libc.prctl(38, 1, 0, 0, 0)
        libc.syscall(317, 1, 0, fprog)
        libc.syscall(110)
        os._exit(ctypes.get_errno())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("shift", [0, 1, 31, 32, 33, 63])
@pytest.mark.parametrize("code", [0x6C, 0x7C])
def test_shifts_wrap_as_in_the_kernel(shift: int, code: int) -> None:
    """By the index, which only the running machine knows: 0x40 shifted, its low byte as errno for getppid."""
    rules = b"".join(
        instruction(*row)
        for row in (
            *((0x20, 0, 0, 0), (0x15, 1, 0, 110), (0x06, 0, 0, ALLOW)),
            *(
                (0x01, 0, 0, shift),
                (0x00, 0, 0, 0x40),
                (code, 0, 0, 0),
                (0x54, 0, 0, 0xFF),
                (0x44, 0, 0, 0x00050000),
            ),
            (0x16, 0, 0, 0),
        )
    )
    assert verdict(rules, 110) == 0x00050000 | kernel_answers(rules)


def test_absence_of_notifications_is_proven() -> None:
    everything = (0, 2**32 - 1)
    assert proves(all_but(EXEC, KILL), everything, actions=lib.BPF_NO_NOTIFICATION)
    assert not proves(all_but(EXEC, NOTIFY), everything, actions=lib.BPF_NO_NOTIFICATION)
    assert not proves(only((1,), NOTIFY), everything, actions=lib.BPF_NO_NOTIFICATION)


def sha256(data: bytes, part: int, *, fast: bool) -> bytes:
    digest = ffi.new("uint8_t[32]")
    lib.sha256_of(int(fast), data, len(data), part, digest)
    return bytes(digest)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), st.integers(1, 200), st.booleans())
def test_sha256(data: bytes, part: int, fast: bool) -> None:  # noqa: FBT001  # hypothesis draws it
    if fast and not lib.sha256_cpu_is_fast():
        return
    assert sha256(data, part, fast=fast) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1_000_000])
@pytest.mark.parametrize("fast", [False, True])
def test_sha256_around_block_boundaries(size: int, fast: bool) -> None:  # noqa: FBT001  # parametrised
    if fast and not lib.sha256_cpu_is_fast():
        pytest.skip("this CPU has no SHA instructions")
    data = bytes(range(256)) * (size // 256 + 1)
    assert sha256(data[:size], 65536, fast=fast) == hashlib.sha256(data[:size]).digest()


def test_readers_under_sanitizers(native_build: Callable[[str], Path]) -> None:
    folder = native_build("sanitize")
    plan = plan_for(Path("/bin/program"), "argument", environment=(b"A=b",))
    for data in (b"", plan, plan[:-1], plan[:40], plan.replace(b"A=b", b"=bb"), b"\xff" * 64, all_but()):
        done = subprocess.run([folder / "read-sanitized"], input=data, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("reader", ["read-sanitized", "dhcp-sanitized"])
def test_mutations_under_sanitizers(native_build: Callable[[str], Path], reader: str) -> None:
    command = [str(native_build("sanitize") / reader), "--mutate", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout.split()[0]) > 1000


def test_static_analysis(native_build: Callable[[str], Path]) -> None:
    native_build("analyze")
