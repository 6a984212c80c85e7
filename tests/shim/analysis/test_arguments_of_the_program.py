"""
No call is taken out because of what a program is started with: argc and argv are what the kernel put there.

What `--arguments allow` of `shim build` rests on: whoever starts the image chooses them, the filter is fixed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.elf.image import parse_elf
from shim.launch.compose import compose
from shim.launch.layout import layout_of
from shim.launch.plan import PlanFlag

Compile = Callable[..., bytes]
CHOOSING = """
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static long ask(long number) { return syscall(number); }
int main(int count, char **texts)
{
    if (count > 1)
        ask(SYS_getppid);
    if (count == 1)
        ask(SYS_getuid);
    if (count == 0)
        ask(SYS_getgid);
    if (count > 2 && strcmp(texts[2], "--deep") == 0)
        ask(SYS_getpgrp);
    switch (count) {
    case 3: return (int)ask(SYS_getegid);
    case 4: return (int)ask(SYS_geteuid);
    case 5: return (int)ask(SYS_times);
    case 6: return (int)ask(SYS_sync);
    case 7: return (int)ask(SYS_getsid);
    }
    return 0;
}
"""
CHOSEN = {"getppid", "getuid", "getgid", "getpgrp", "getegid", "geteuid", "times", "sync", "getsid"}


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize(
    ("options", "compiler"), [(["-static"], "musl-gcc"), (["-static"], "gcc"), ([], "gcc")]
)
def test_every_branch_on_them_stays(
    compile_c: Compile, options: list[str], compiler: str, level: str
) -> None:
    profile = derive(
        compile_c(CHOOSING, level, *options, compiler=compiler), "/program", files=RootedFiles("/")
    )
    assert {rule.name for rule in profile.phases[-1].rules} >= CHOSEN


def test_a_plan_is_the_same_but_for_them(compile_c: Compile) -> None:
    data = compile_c(CHOOSING, "-static", compiler="musl-gcc")
    profile = derive(data, "/program")
    layout = layout_of(profile, parse_elf(data, "/program"), RootedFiles("/").read)
    few = compose(profile, "/program", ("program",), {}, layout=layout)
    many = compose(profile, "/program", ("program", "-v", "--deep", "c"), {}, layout=layout, appendable=True)
    assert few != many
    assert few == dataclasses.replace(many, argv=few.argv, flags=many.flags & ~PlanFlag.ARGUMENTS)
