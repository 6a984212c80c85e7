"""`shim profile IMAGE`: a runtime's filter around an image, and everything inside as without it."""

from __future__ import annotations

import copy
import errno
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shim.launch.outer import INJECTED
from tests.fakes import layouts
from tests.golden import LAUNCHER_CALLS, ROOT
from tests.shim.cli.test_images import shim
from tests.shim.containers import contained

Compile = Callable[..., bytes]
ENTRY = ("/shim/launch", "/shim/plan")
NOTE = "shim: img: whole, but it has no signature: --image-policy FILE says who may have made it\n"
# Prints, makes one call that the launcher makes too and one that neither it nor the program's profile has.
TAKEN_OVER = """
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
int main(int count, char **texts)
{
    unsigned char code[] = {0xb8, count > 1 && strcmp(texts[1], "inside") == 0 ? SYS_getppid : SYS_getpgrp,
                            0, 0, 0, 0x0f, 0x05, 0xc3};
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%d\\n", count);
    fflush(stdout);
    if (count == 1)
        return 7;
    memcpy(page, code, sizeof(code));
    return (int)((long (*)(void))page)();
}
"""


def built(place: Path, data: bytes, *options: str, arguments: tuple[str, ...] = ()) -> Path:
    """Build an image as a layout and as the root directory of a bundle."""
    (place / "program").write_bytes(data)
    (place / "program").chmod(0o755)
    (place / "bundle").mkdir()
    for form, target in (("oci", "img"), ("rootfs", "bundle/rootfs")):
        done = shim(
            place,
            "build",
            "-o",
            target,
            "--format",
            form,
            "--arguments",
            "allow",
            *options,
            "./program",
            *arguments,
        )
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def image(compile_c: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = compile_c(TAKEN_OVER, "-static", compiler="musl-gcc")
    return built(tmp_path_factory.mktemp("image"), data)


@pytest.fixture(scope="module")
def dynamic(compile_c: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("dynamic"), compile_c(TAKEN_OVER))


def outer_of(place: Path, form: str = "oci") -> Any:  # noqa: ANN401  # the document of a runtime
    done = shim(place, "profile", "--format", form, "img")
    assert (done.returncode, done.stderr) == (0, NOTE)
    return json.loads(done.stdout)


@pytest.mark.parametrize("runtime", ["runc", "crun"])
@pytest.mark.parametrize("linked", ["image", "dynamic"])
def test_all_inside_goes_on_as_without(request: pytest.FixtureRequest, linked: str, runtime: str) -> None:
    image: Path = request.getfixturevalue(linked)
    plain = contained(runtime, image / "bundle", ENTRY, None)
    assert (plain.returncode, plain.stdout) == (7, "1\n"), plain.stderr
    around = contained(runtime, image / "bundle", ENTRY, outer_of(image))
    assert (around.returncode, around.stdout) == (7, "1\n"), around.stderr
    # What the launcher allows itself it still refuses to the program, and says so.
    inside = contained(runtime, image / "bundle", (*ENTRY, "inside"), outer_of(image))
    assert (inside.returncode, inside.stdout) == (159, "2\n"), inside.stderr
    event = next(line for line in inside.stderr.splitlines() if line.startswith("{"))
    assert json.loads(event)["syscall"] == 110
    # What neither has ends at the runtime's filter, which reports nothing.
    outside = contained(runtime, image / "bundle", (*ENTRY, "outside"), outer_of(image))
    assert (outside.returncode, outside.stdout) == (159, "2\n"), outside.stderr
    assert '"violation"' not in outside.stderr


def without(document: Any, name: str, action: dict[str, Any]) -> Any:  # noqa: ANN401  # as `outer_of`
    changed = copy.deepcopy(document)
    for entry in changed["syscalls"]:
        if entry["action"] == "SCMP_ACT_ALLOW" and name in entry["names"]:
            entry["names"].remove(name)
    changed["syscalls"] = [entry for entry in changed["syscalls"] if entry["names"]]
    changed["syscalls"].append({"names": [name], **action})
    return changed


DENIED = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
KILLED = {"action": "SCMP_ACT_KILL_PROCESS"}
NEEDED = {
    "ptrace": (DENIED, "seize-child: ptrace is forbidden: by the seccomp filter of a container"),
    "clone3": (DENIED, "spawn-child: Operation not permitted"),
    "seccomp": (DENIED, "install-filter: Operation not permitted"),
    "pidfd_getfd": (DENIED, "take-listener: Operation not permitted"),
    "process_vm_readv": (DENIED, "check-stack: Operation not permitted"),
    "rt_sigprocmask": (DENIED, "block-signals: a filter around the launcher forbids it"),
    "capset": (KILLED, "a seccomp filter killed the process, most likely one around the launcher"),
    "prctl": (KILLED, "a seccomp filter killed the process, most likely one around the launcher"),
}


def test_without_a_call_that_the_launch_needs_nothing_runs(compile_c: Compile, tmp_path: Path) -> None:
    place = built(tmp_path, compile_c(TAKEN_OVER, "-static", compiler="musl-gcc"))
    document = outer_of(place)
    contained("runc", place / "bundle", ENTRY, None)
    for name, (action, said) in NEEDED.items():
        done = contained("runc", place / "bundle", ENTRY, without(document, name, action))
        assert (done.returncode, done.stdout) == (125, ""), (name, done.stderr)
        assert said in done.stderr, (name, done.stderr)


def test_it_has_all_that_the_launcher_calls_or_has_called(image: Path) -> None:
    names = set(shim(image, "profile", "--format", "names", "img").stdout.split())
    assert names >= {*LAUNCHER_CALLS.read_text().split(), *INJECTED}


def test_the_list_of_injected_calls_is_that_of_the_launcher() -> None:
    found = re.findall(
        r"\b(?:inject|inject_filtered|step_to|start_call)\(launch,\s*(?:SYS_|UAPI_NR_)(\w+)",
        "".join(path.read_text() for path in sorted((ROOT / "native").glob("*.c"))),
    )
    assert sorted(set(found)) == list(INJECTED)


def test_who_needs_what(image: Path) -> None:
    done = shim(image, "profile", "img")
    assert (done.returncode, done.stderr) == (0, NOTE)
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert rows["ptrace"].endswith("101  launcher")
    assert rows["exit_group"].endswith("231  launcher and program")
    assert rows["writev"].endswith(" 20  program")
    assert "inside, the program has only its own" in done.stdout


def test_engines_have_what_they_call_themselves(image: Path) -> None:
    assert outer_of(image) == outer_of(image, "docker")
    allowed = {
        name
        for one in outer_of(image)["syscalls"]
        if one["action"] == "SCMP_ACT_ALLOW"
        for name in one["names"]
    }
    assert {"execve", "epoll_pwait", "umask"} <= allowed
    text = shim(image, "profile", "--format", "spo", "img").stdout
    assert '  name: "program"\n' in text


def test_every_format_is_written(image: Path) -> None:
    for form in ("systemd", "libseccomp", "bpf", "html", "json"):
        done = shim(image, "profile", "--format", form, "-o", "out", "img")
        assert (done.returncode, done.stderr) == (0, NOTE)
        assert (image / "out").stat().st_size > 500


def test_what_refuses_by_an_error_does_so_around_too(compile_c: Compile, tmp_path: Path) -> None:
    data = compile_c(TAKEN_OVER, "-static", compiler="musl-gcc")
    place = built(tmp_path, data, "--on-violation", "errno")
    refused = [entry for entry in outer_of(place)["syscalls"] if entry["action"] != "SCMP_ACT_ALLOW"]
    assert [(entry["action"], entry["errnoRet"]) for entry in refused] == [("SCMP_ACT_ERRNO", 1)]
    done = contained("runc", place / "bundle", (*ENTRY, "outside"), outer_of(place))
    assert (done.returncode, done.stdout) == (255, "2\n"), done.stderr
    spo = shim(place, "profile", "--format", "spo", "img")
    assert spo.returncode == 1
    assert "found a plan whose refused calls fail (--on-violation errno), want oci or docker" in spo.stderr


def test_around_a_program_that_may_do_anything_there_is_no_filter(compile_c: Compile, tmp_path: Path) -> None:
    place = built(tmp_path, compile_c(TAKEN_OVER, "-static", compiler="musl-gcc"), "--audit")
    done = shim(place, "profile", "img")
    assert done.returncode != 0
    assert "found a plan that makes the calls which it refuses" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--root", "/x"),
        ("--modules", "/x"),
        ("--assume", "c-locale"),
        ("--no-assumptions",),
        ("--why",),
        ("--merge", "x"),
    ],
)
def test_options_of_programs_mean_nothing(image: Path, options: tuple[str, ...]) -> None:
    done = shim(image, "profile", *options, "img")
    assert done.returncode == 2
    assert f"found {options[0]} beside an image, want none" in done.stderr


def test_several_images_and_programs(image: Path) -> None:
    done = shim(image, "profile", "--format", "names", "-o", "out-folder", "img", "./program")
    assert done.returncode == 0, done.stderr
    assert NOTE in done.stderr
    both = [set((image / "out-folder" / f"{name}.names").read_text().split()) for name in ("img", "program")]
    assert "ptrace" in both[0] - both[1]
    done = shim(image, "profile", "--image-policy", "x", "./program")
    assert (done.returncode, "mean nothing for a program that is no image" in done.stderr) == (2, True)


def test_an_altered_image_has_no_filter(image: Path, tmp_path: Path) -> None:
    shutil.copytree(image / "img", tmp_path / "img")
    largest = max((tmp_path / "img/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = largest.read_bytes()
    largest.write_bytes(data[:-20] + bytes((data[-20] ^ 1,)) + data[-19:])
    done = shim(tmp_path, "profile", "--format", "oci", "img")
    assert (done.returncode, done.stdout) == (10, "")
    assert "want the digest that it is named by" in done.stderr


def test_an_image_of_others_has_none_either(tmp_path: Path) -> None:
    layouts.write(layouts.layout(("amd64", (layouts.tar({"a": b"b"}),))), tmp_path / "img")
    done = shim(tmp_path, "profile", "img")
    assert done.returncode == 10
    assert "found no launcher with a plan, want /shim/launch and /shim/plan" in done.stderr
