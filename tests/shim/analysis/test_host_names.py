"""What the C library opens for names of hosts alone, and what others open under the same name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shim.analysis.assumptions import DEFAULT, NO_IDN
from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.profile.profile import Profile

Compile = Callable[..., bytes]
LIBRARY = "libidn2.so.0"
LOOKUP = """
#include <netdb.h>
#include <stddef.h>
int main(int argc, char **argv) {
    struct addrinfo *found = NULL;
    return argc < 2 || getaddrinfo(argv[1], "80", NULL, &found);
}
"""
OWN = """
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>
int main(int argc, char **argv) {
    struct addrinfo *found = NULL;
    void *library = dlopen("libidn2.so.0", RTLD_NOW);
    return library == NULL || argc < 2 || getaddrinfo(argv[1], "80", NULL, &found);
}
"""
NO_LOOKUP = '#include <stdio.h>\nint main(void) { puts("libidn2.so.0"); return 0; }\n'


@pytest.fixture
def profile(compile_c: Compile) -> Callable[..., Profile]:
    files = RootedFiles("/")
    if not any(
        Path(folder, LIBRARY).exists() for folder in ("/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
    ):
        pytest.skip(f"{LIBRARY} is not installed")

    def make(source: str, **options: object) -> Profile:
        return derive(compile_c(source), "program", files=files, **options)  # type: ignore[arg-type]

    return make


def opens(profile: Profile) -> bool:
    return any(one.path.endswith(LIBRARY) for one in profile.objects)


def test_it_is_opened_unless_somebody_says_that_no_such_names_are_asked_for(
    profile: Callable[..., Profile],
) -> None:
    assert opens(profile(LOOKUP))
    without = profile(LOOKUP, assume={*DEFAULT, NO_IDN})
    assert not opens(without)
    assert str(NO_IDN) in without.assumptions
    assert not any("unistring" in one.path for one in without.objects)


def test_a_program_that_opens_it_itself_has_it(profile: Callable[..., Profile]) -> None:
    found = profile(OWN, assume={*DEFAULT, NO_IDN})
    assert opens(found)
    assert str(NO_IDN) not in found.assumptions


def test_a_program_that_looks_no_host_up_rests_on_nothing(profile: Callable[..., Profile]) -> None:
    assert str(NO_IDN) not in profile(NO_LOOKUP, assume={*DEFAULT, NO_IDN}).assumptions
