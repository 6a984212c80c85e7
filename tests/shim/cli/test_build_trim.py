# ruff: noqa: F811  # fixtures are named as what they are
"""`shim build --trim`: programs do what they did, and what is gone ends them instead of doing anything else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from images.manifest import loads
from shim.analysis.derive import derive
from shim.elf.files import RootedFiles
from shim.elf.image import parse_elf
from shim.elf.symbols import symbols
from tests.shim.cli.test_build import Shim, cache, in_root, placed, shim  # noqa: F401  # fixtures

Compile = Callable[..., bytes]
# `idle` is reached by an address that no analysis can know.
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int compare(const void *a, const void *b) { return *(const char *)a - *(const char *)b; }
__attribute__((noinline, used)) static int idle(int n) { return printf("idle %d\\n", n * n * n / 7); }
int main(int count, char **texts)
{
    char word[] = "unsorted";
    qsort(word, strlen(word), 1, compare);
    printf("%s %.3f\\n", word, strtod(texts[1], 0));
    fflush(stdout);
    if (count > 2) {
        char *place = (char *)main;
        return ((int (*)(int))(place + strtol(texts[2], 0, 10)))(3);
    }
    return 7;
}
"""


def distance(path: Path) -> int:
    """How far `idle` is from `main`."""
    places = {one.name: one.address for one in symbols(parse_elf(path.read_bytes(), "/p"))}
    return places["idle"] - places["main"]


def test_a_trimmed_image_does_what_its_program_does(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    program = placed(tmp_path / "hello", compile_c(PROGRAM))
    done = shim("-o", "root", "--format", "rootfs", "--trim", program, "1.5")
    assert done.returncode == 0, done.stderr
    assert "bytes of code that nothing reaches are traps now" in done.stderr
    inside = in_root(tmp_path / "root")
    assert (inside.returncode, inside.stdout, inside.stderr) == (7, "denorstu 1.500\n", "")


def test_code_that_is_gone_ends_the_program(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    program = placed(tmp_path / "hello", compile_c(PROGRAM))
    for options, code, said in (([], 7, "idle 3\n"), (["--trim"], 132, "")):
        for middle in (0, 1) if options else (0,):
            offset = str(distance(program) + middle)
            done = shim("-o", "root", "--format", "rootfs", *options, program, "1", offset)
            assert done.returncode == 0, done.stderr
            inside = in_root(tmp_path / "root")
            assert (inside.returncode, inside.stdout) == (code, "denorstu 1.000\n" + said), inside.stderr


def test_files_keep_their_size_and_the_manifest_says_what_they_were(
    shim: Shim, compile_c: Compile, tmp_path: Path
) -> None:
    program = placed(tmp_path / "hello", compile_c(PROGRAM))
    for name, options in (("plain", []), ("trimmed", ["--trim"]), ("again", ["--trim"])):
        assert shim("-o", name, "--format", "rootfs", *options, program, "1").returncode == 0
    manifests = {
        name: loads((tmp_path / name / "shim/manifest.json").read_bytes(), name)
        for name in ("plain", "trimmed")
    }
    before = {item.path: item for item in manifests["plain"].items if item.kind == "file"}
    was = {one.sha256 for one in manifests["trimmed"].inputs if one.name == "trimmed"}
    changed = set()
    for item in manifests["trimmed"].items:
        if item.kind != "file" or item.path.startswith("/shim/"):
            continue
        old, new = ((tmp_path / name / item.path[1:]).read_bytes() for name in ("plain", "trimmed"))
        assert len(old) == len(new)
        assert item.sha256 == hashlib.sha256(new).hexdigest()
        if old != new:
            changed.add(item.path)
            assert before[item.path].sha256 in was
    assert "/hello" in changed
    assert len(changed) == len(was) >= 2
    assert "--trim" in manifests["trimmed"].request
    for path in (tmp_path / "trimmed").rglob("*"):
        if path.is_file():
            assert (
                path.read_bytes()
                == (tmp_path / "again" / path.relative_to(tmp_path / "trimmed")).read_bytes()
            )


def test_the_profile_of_what_is_left_is_the_same(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    program = placed(tmp_path / "hello", compile_c(PROGRAM))
    profiles = {}
    for name, options in (("plain", []), ("trimmed", ["--trim"])):
        assert shim("-o", name, "--format", "rootfs", *options, program, "1").returncode == 0
        root = tmp_path / name
        derived = derive((root / "hello").read_bytes(), "/hello", files=RootedFiles(str(root)))
        assert derived.complete
        profiles[name] = [(rule.name, rule.conditions) for rule in derived.phases[0].rules]
    assert profiles["plain"] == profiles["trimmed"]


def test_bills_of_materials_keep_the_packages_and_say_that_files_differ(
    shim: Shim, compile_c: Compile, tmp_path: Path
) -> None:
    program = placed(tmp_path / "hello", compile_c(PROGRAM))
    bills = {}
    for name, options in (("plain", []), ("trimmed", ["--trim"])):
        done = shim("-o", name, "--format", "rootfs", "--sbom", f"{name}.sbom", *options, program, "1")
        assert done.returncode == 0, done.stderr
        bills[name] = json.loads((tmp_path / f"{name}.sbom" / "sbom.spdx.json").read_text())
    packages = {
        name: {(one["name"], one["versionInfo"]) for one in bill["packages"] if "versionInfo" in one}
        for name, bill in bills.items()
    }
    assert packages["plain"] == packages["trimmed"]
    files = {one["fileName"]: one for one in bills["trimmed"]["files"]}
    library = next(one for path, one in files.items() if path.endswith("/libc.so.6"))
    assert "differ" in json.dumps(library)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--allow-incomplete", "./hello"], 2, "want one: what is reached has to be known"),
        (["--include", "/bin/true", "./hello"], 1, "code that was not analysed"),
    ],
)
def test_where_nothing_can_be_trimmed(
    shim: Shim, compile_c: Compile, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    placed(tmp_path / "hello", compile_c(PROGRAM))
    done = shim("-o", "out", "--trim", *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_an_incomplete_profile_is_not_trimmed(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    source = "#include <unistd.h>\n#include <sys/syscall.h>\nint main(int c, char **v) { return syscall(v[0][0] * c); }\n"
    program = placed(tmp_path / "open", compile_c(source, "-static", compiler="musl-gcc"))
    done = shim("-o", "out", "--trim", program)
    assert (done.returncode, "nothing was written" in done.stderr) == (3, True), done.stderr
