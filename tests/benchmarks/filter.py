"""
What does a filter cost: to compile, in instructions, and per syscall on the running kernel?

    python tests/benchmarks/filter.py

`measure` returns the numbers; times are minima of many short runs, because machines are rarely quiet.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from shim.elf.image import parse_elf
from shim.elf.symbols import symbols
from shim.filter import FilterProgram, Moved, SeccompData, compile_filter, simulate
from shim.profile.pins import Pin, Pins
from shim.profile.profile import ArgumentCondition, Site, SyscallRule
from shim.syscalls import table

X86_64 = table("x86_64")
SIZES = (20, 80, 300)
REPEAT = 7
ROUNDS = 10
MEASURED = "getppid"

HARNESS = r"""
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* getppid from one place, whose address the pins name */
__attribute__((noinline)) static void ask(void)
{
	long result;

	__asm__ volatile(".type measured, @function\nmeasured: syscall" : "=a"(result)
		: "a"((long)SYS_getppid), "D"(1L), "S"(2L), "d"(3L) : "rcx", "r11", "memory");
}

static double run(long calls)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long i = 0; i < calls; i++)
		ask();
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / calls;
}

int main(int argc, char **argv)
{
	static struct sock_filter filter[4096];
	struct sock_fprog program = {.filter = filter};
	FILE *file;

	if (argc > 2) {
		file = fopen(argv[2], "rb");
		if (file == NULL)
			return 2;
		program.len = fread(filter, sizeof(*filter), 4096, file);
		fclose(file);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
			return 3;
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) != 0)
			return 4;
	}
	double best = 1e9;
	for (int i = 0; i < 40; i++) {
		double ns = run(atol(argv[1]));
		best = ns < best ? ns : best;
	}
	printf("%.1f\n", best);
	return 0;
}
"""


def measure(calls: int = 50_000) -> dict[str, object]:
    """
    Return compile times in ms, lengths and costs in instructions, and times per syscall in ns.

    The times per syscall are None where there is no C compiler.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _measured(_harness(Path(folder)), Path(folder) / "filter", calls)


def _measured(harness: Path | None, data: Path, calls: int) -> dict[str, object]:
    site = _site(harness) if harness is not None else 0x1000
    filters = {
        **_peer(data.parent),
        **{f"constant allow, {size} syscalls": compile_filter(rules_of(size), X86_64) for size in SIZES},
        "one argument compared": compile_filter(_guarded(1), X86_64),
        "one argument among 40 values": compile_filter(_guarded(40), X86_64),
        "pinned to one place": _pinned({site}),
        "pinned to 32 places": _pinned({site, *range(site + 64, site + 64 * 32, 64)}),
    }
    return {
        "compile ms": {size: _milliseconds(rules_of(size)) for size in SIZES},
        "instructions": {name: len(program) for name, program in filters.items()},
        f"instructions run for {MEASURED}": {name: _cost(program, site) for name, program in filters.items()},
        "ns per syscall": _nanoseconds(harness, data, filters, calls),
    }


PEER = r"""
#include <seccomp.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);

	for (int i = 1; i < argc; i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, atoi(argv[i]), 0) != 0)
			return 1;
	return seccomp_export_bpf(filter, 1) != 0;
}
"""


def _peer(folder: Path) -> dict[str, FilterProgram]:
    """Return the same list of 80 syscalls as libseccomp compiles it; nothing where that is not installed."""
    (folder / "peer.c").write_text(PEER)
    built = subprocess.run(
        ["cc", "-O2", "-o", folder / "peer", folder / "peer.c", "-lseccomp"], capture_output=True, check=False
    )
    if built.returncode:
        return {}
    numbers = [str(rule.number) for rule in rules_of(80)]
    done = subprocess.run([folder / "peer", *numbers], capture_output=True, check=True)
    return {"constant allow, 80 syscalls, libseccomp": FilterProgram.decode(done.stdout)}


def rules_of(size: int) -> list[SyscallRule]:
    """Return `size` rules spread over the table, with what the harness itself needs among them."""
    needed = [
        X86_64.number(name)
        for name in (MEASURED, "write", "exit_group", "newfstatat", "brk", "clock_gettime")
    ]
    spread = [number for number in X86_64 if number not in needed]
    missing = size - len(needed)
    chosen = sorted(needed + [spread[index * len(spread) // missing] for index in range(missing)])
    return [SyscallRule(number, X86_64.names[number]) for number in chosen]


def _guarded(values: int) -> list[SyscallRule]:
    tests = tuple((ArgumentCondition(0, "masked_eq", value, 0xFFFF_FFFF),) for value in range(1, values + 1))
    return [
        SyscallRule(rule.number, rule.name, tests) if rule.name == MEASURED else rule for rule in rules_of(80)
    ]


def _milliseconds(rules: Sequence[SyscallRule]) -> float:
    return round(min(_seconds(lambda: compile_filter(rules, X86_64)) for _ in range(REPEAT)) * 1000, 2)


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _pinned(addresses: set[int]) -> FilterProgram:
    """Return the filter of 80 syscalls, the measured one from these addresses, the others from anywhere."""
    rules = rules_of(80)
    sites = tuple(Site("harness", address, "ask") for address in sorted(addresses))
    pins = Pins(
        tuple(
            Pin(rule.number, rule.name, sites if rule.name == MEASURED else (), rule.name != MEASURED)
            for rule in rules
        ),
        (),
        ("harness",),
    )
    low = range(0xFFFF_F000)  # the harness is static and not moved: all of it lies there
    program = compile_filter(rules, X86_64, pins=pins)
    return program.relocated({Moved.PROGRAM: range(0), Moved.VDSO: low})


def _cost(program: FilterProgram, site: int) -> int:
    call = SeccompData(X86_64.number(MEASURED), X86_64.audit_arch, site + 2, (1, 2, 3, 0, 0, 0))
    return simulate(program, call).cost


def _harness(folder: Path) -> Path | None:
    """Build what makes the measured call again and again; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source, harness = folder / "harness.c", folder / "harness"
    source.write_text(HARNESS)
    subprocess.run([compiler, "-O2", "-static", "-no-pie", "-o", harness, source], check=True)
    return harness


def _site(harness: Path) -> int:
    image = parse_elf(harness.read_bytes(), str(harness))
    return next(symbol.address for symbol in symbols(image) if symbol.name == "measured")


def _nanoseconds(
    harness: Path | None, data: Path, filters: dict[str, FilterProgram], calls: int
) -> dict[str, float] | None:
    if harness is None:
        return None
    files: dict[str, tuple[Path, ...]] = {"no filter": ()}
    for number, (name, program) in enumerate(filters.items()):
        files[name] = (data.with_name(f"{data.name}{number}"),)
        files[name][0].write_bytes(program.encode())
    times = dict.fromkeys(files, float("inf"))
    for _ in range(ROUNDS):  # they take turns: a busy moment of the machine hits all of them
        for name, file in files.items():
            times[name] = min(times[name], _run(harness, calls // ROUNDS, *file))
    return times


def _run(harness: Path, calls: int, *filter_file: Path) -> float:
    done = subprocess.run([harness, str(calls), *filter_file], capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
