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

from shim.filter import FilterProgram, SeccompData, compile_filter, simulate
from shim.profile.profile import ArgumentCondition, SyscallRule
from shim.syscalls import table

X86_64 = table("x86_64")
SIZES = (20, 80, 300)
REPEAT = 7
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

static double run(long calls)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long i = 0; i < calls; i++)
		syscall(SYS_getppid, 1L, 2L, 3L);
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
    filters = {
        **{f"constant allow, {size} syscalls": compile_filter(rules_of(size), X86_64) for size in SIZES},
        "one argument compared": compile_filter(_guarded(1), X86_64),
        "one argument among 40 values": compile_filter(_guarded(40), X86_64),
    }
    return {
        "compile ms": {size: _milliseconds(rules_of(size)) for size in SIZES},
        "instructions": {name: len(program) for name, program in filters.items()},
        f"instructions run for {MEASURED}": {name: _cost(program) for name, program in filters.items()},
        "ns per syscall": _nanoseconds(filters, calls),
    }


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


def _cost(program: FilterProgram) -> int:
    call = SeccompData(X86_64.number(MEASURED), X86_64.audit_arch, 0, (1, 2, 3, 0, 0, 0))
    return simulate(program, call).cost


def _nanoseconds(filters: dict[str, FilterProgram], calls: int) -> dict[str, float] | None:
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, harness, data = (Path(folder) / name for name in ("harness.c", "harness", "filter"))
        source.write_text(HARNESS)
        subprocess.run([compiler, "-O2", "-o", harness, source], check=True)
        times = {"no filter": _run(harness, calls)}
        for name, program in filters.items():
            data.write_bytes(program.encode())
            times[name] = _run(harness, calls, data)
    return times


def _run(harness: Path, calls: int, *filter_file: Path) -> float:
    done = subprocess.run([harness, str(calls), *filter_file], capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
