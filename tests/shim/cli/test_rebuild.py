# ruff: noqa: ARG001, F811  # fixtures are named as what they are, and some only have to be there
"""`shim rebuild`: the same inputs are the same bytes, and a change is named by what a person can act on."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from images import buildinfo
from images.manifest import loads
from images.recorded import recorded
from shim.canonical import canonical_bytes
from shim.cli import main
from tests.fakes import bzimage, pe as fakes, roots
from tests.shim.cli.test_build import Compile, Shim, cache, digests, hello, placed, shim  # noqa: F401  # fixtures
from tests.shim.conftest import compile_c  # noqa: F401  # a fixture

LIBRARY = "/usr/lib/libmade.so"
SHARED = ("-shared", "-fPIC", "-Wl,-soname,libmade.so")
USES = "int made(void);\nint main(void) { return made(); }"


@pytest.fixture
def rebuild(shim: Shim) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The same fixture, for the other command."""

    def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401  # of subprocess.run
        return shim(*arguments, command="rebuild", **options)

    return run


@pytest.fixture
def tree(compile_c: Compile, tmp_path: Path) -> Path:
    """A root with a program and a library of a package, its database, and what they need of this system."""
    root = tmp_path / "sys"
    library = compile_c("int made(void) { return 7; }", *SHARED)
    with_library(root, library, "1.0-1")
    program = compile_c(USES, "-Wl,--no-as-needed", str(root / LIBRARY[1:]), "-Wl,-rpath,/usr/lib")
    placed(root / "usr/bin/made", program)
    for path in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"):
        placed(root / path[1:], Path(path).resolve().read_bytes())
    return root


def with_library(root: Path, library: bytes, version: str) -> None:
    roots.dpkg(root, (roots.stanza(Package="libmade", Source=None, Version=version), {LIBRARY: library}))


def test_the_same_inputs_are_the_same_bytes(shim: Shim, rebuild: Shim, hello: Path, tmp_path: Path) -> None:
    options = ("--compress", "none", "--label", "a=b", "--user", "7", "--tag", "v1", "--env", "WORD")
    first = shim(
        "-o", "image", *options, "./hello", "-x", env={"WORD": "is set", "SOURCE_DATE_EPOCH": "1700000000"}
    )
    assert first.returncode == 0, first.stderr
    before = digests(tmp_path)
    done = rebuild("image")  # neither variable is set now
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("image: the same bytes, sha256:")
    assert digests(tmp_path) == before
    assert rebuild("-o", "again", "image").returncode == 0
    assert digests(tmp_path / "again") == digests(tmp_path / "image")


@pytest.mark.parametrize("form", ["rootfs", "initramfs"])
def test_other_formats_of_the_same_tree(
    shim: Shim, rebuild: Shim, hello: Path, tmp_path: Path, form: str
) -> None:
    assert shim("-o", "out", "--format", form, "--buildinfo", "info", "./hello").returncode == 0
    for record in ("info", *(("out", "out/shim/manifest.json") if form == "rootfs" else ())):
        done = rebuild(record)
        assert (done.returncode, "the same bytes" in done.stdout) == (0, True), (record, done.stderr)
    assert rebuild("-o", "again", "--buildinfo", "info2", "info").returncode == 0
    assert digests(tmp_path / "again") == digests(tmp_path / "out")
    assert (tmp_path / "info2").read_bytes() == (tmp_path / "info").read_bytes()


def test_a_package_that_was_updated(
    shim: Shim, rebuild: Shim, compile_c: Compile, tree: Path, tmp_path: Path
) -> None:
    assert shim("-o", "image", "--root", "sys", "made").returncode == 0
    assert rebuild("image").returncode == 0
    changed = "#include <unistd.h>\nint made(void) { return getppid() < 0; }"
    with_library(tree, compile_c(changed, *SHARED), "1.0-2")
    done = rebuild("image")
    assert done.returncode == 1, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "libmade 1.0-1 -> 1.0-2" in lines
    assert any(re.fullmatch(rf"changed {LIBRARY}.*: libmade 1.0-2", line) for line in lines)
    (added,) = [line for line in lines if line.startswith("+ getppid: ")]
    assert f"made ({Path(LIBRARY).name}) > " in added
    found = json.loads(rebuild("image", "--json").stdout)
    assert found["same"] is False
    assert found["packages"] == [{"name": "libmade", "before": "1.0-1", "after": "1.0-2"}]
    assert [one["name"] for one in found["syscalls"] if one["change"] == "added"] == ["getppid"]
    assert {one["path"] for one in found["files"]} == {LIBRARY, "/shim/plan"}


def test_a_library_that_somebody_replaced(
    shim: Shim, rebuild: Shim, compile_c: Compile, tree: Path, tmp_path: Path
) -> None:
    assert shim("-o", "image", "--root", "sys", "made").returncode == 0
    placed(tree / LIBRARY[1:], compile_c("int made(void) { return 8; }", *SHARED))
    placed(tree / "etc/made.conf", b"new", 0o644)
    done = rebuild("image", "-o", "new")
    assert done.returncode == 1
    assert f"{LIBRARY} (contents, package)" in done.stdout
    assert "libmade 1.0-1, differs from what its package installed" in done.stdout
    assert "packages:" not in done.stdout
    assert "syscalls:\n  the same as before\n" in done.stdout
    assert (
        recorded(tmp_path / "new").info.manifest.packages
        == recorded(tmp_path / "image").info.manifest.packages
    )
    assert rebuild("new").returncode == 0


@pytest.fixture
def booted(shim: Shim, hello: Path, tmp_path: Path) -> Path:
    """The record of a unified kernel image."""
    kernel = placed(tmp_path / "kernel", bzimage.kernel(), 0o644)
    stub = placed(tmp_path / "stub", fakes.stub(), 0o644)
    done = shim(
        "--format", "uki", "--kernel", kernel, "--stub", stub, "--buildinfo", "info", "-o", "uki", "./hello"
    )
    assert done.returncode == 0, done.stderr
    return tmp_path / "info"


def test_a_kernel_that_was_updated_is_another_measurement(
    rebuild: Shim, booted: Path, tmp_path: Path
) -> None:
    assert rebuild(booted).returncode == 0
    (tmp_path / "kernel").write_bytes(bzimage.kernel() + bytes(512))
    done = rebuild(booted, "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert [one["name"] for one in found["inputs"]] == ["kernel"]
    registers = {one["name"].split(",")[0]: one for one in found["measurement"]}
    assert {"tpm pcr4", "tpm pcr11"} <= registers.keys()
    old = {
        one.register: one.digest.hex() for one in buildinfo.loads(booted.read_bytes(), "it").written.expected
    }  # type: ignore[union-attr]
    assert registers["tpm pcr11"]["before"] == f"sha-256:{old['pcr11']}"
    assert registers["tpm pcr11"]["after"] != registers["tpm pcr11"]["before"]
    assert (found["files"], found["packages"], found["syscalls"]) == ([], [], [])
    done = rebuild(booted, "-o", "new", "--buildinfo", "info2", "--reference-values", "values")
    assert done.returncode == 1
    values = json.loads((tmp_path / "values").read_text())["values"]
    assert registers["tpm pcr11"]["after"].removeprefix("sha-256:") in {one["digest"] for one in values}
    assert rebuild("info2").returncode == 0


def test_a_kernel_under_another_name(rebuild: Shim, booted: Path, tmp_path: Path) -> None:
    (tmp_path / "kernel").rename(tmp_path / "kernel-2")
    done = rebuild(booted)
    assert (done.returncode, "kernel-2" in done.stdout) == (2, False)
    assert re.search(
        r"kernel: found No such file .*--kernel FILE names another", done.stderr.replace("\n", " ")
    )
    assert rebuild(booted, "--kernel", "kernel-2").returncode == 0


def test_the_version_of_the_tool_is_said_and_no_hindrance(
    shim: Shim, rebuild: Shim, hello: Path, tmp_path: Path
) -> None:
    assert shim("-o", "out", "--format", "rootfs", "./hello").returncode == 0
    text = json.loads((tmp_path / "out/shim/manifest.json").read_bytes())
    placed(tmp_path / "old", canonical_bytes({**text, "tool_version": "0.0.9"}))
    done = rebuild("old")
    assert done.returncode == 1
    assert "old: made by tee-shim 0.0.9; this is " in done.stderr
    assert "tee-shim 0.0.9 -> " in done.stdout


Answer = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Answer:
    """A command in this process, which takes a tenth of the time; what it would print as an error and ends with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main.run(list(arguments))
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, compile_c: Compile) -> Path:
    """A folder with a program, and with the image of it and of a file."""
    folder = tmp_path_factory.mktemp("made")
    placed(folder / "hello", compile_c("int main(void) { return 0; }", "-static", compiler="musl-gcc"))
    placed(folder / "data", b"data", 0o644)
    with contextlib.chdir(folder):
        given = ["--format", "rootfs", "--include", "data:/data", "./hello"]
        assert main.run(["build", "-o", "image", *given]) == 0
    return folder


def gone(folder: Path) -> None:
    (folder / "hello").unlink()


def no_data(folder: Path) -> None:
    (folder / "data").unlink()


def altered(folder: Path) -> None:
    placed(folder / "image/hello", b"another")


def edited(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        place = folder / "image/shim/manifest.json"
        place.write_bytes(canonical_bytes({**json.loads(place.read_bytes()), **changes}))

    return edit


def misspelled(folder: Path) -> None:
    place = folder / "image/shim/manifest.json"
    place.write_text(json.dumps(json.loads(place.read_bytes())))


def no_image(folder: Path) -> None:
    shutil.rmtree(folder / "image")
    (folder / "image").mkdir()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (gone, "image: cannot be built again: "),
        (no_data, "data: found nothing there"),
        (altered, "image: /hello: found "),
        (misspelled, "another spelling"),
        (no_image, "want an image of shim build"),
        (edited(schema=99), "found 99, want at most 2: a newer tee-shim wrote it"),
        (edited(plan="00" * 32), "as it says elsewhere"),
        (edited(given="./another"), "another: found No such file"),
        (edited(request=["-o", "/etc/passwd"]), "-o"),
        (edited(request=["--sbom", "--reference-values", "x"]), "--reference-values"),
        (edited(request=["--help"]), "--help"),
        (edited(request=["--colour"]), "--colour"),
        (edited(request=["--env"]), "found '--', want NAME=VALUE"),
        (edited(request=["--", "x"]), "cannot be built again"),
        (edited(request=["--env", "NO_SUCH"]), "found 'NO_SUCH', want NAME=VALUE, as builds"),
        (edited(created=1 << 40), "want seconds since 1970"),
    ],
    ids=range(16),
)
def test_what_cannot_be_repeated(
    made: Path, here: Answer, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    damage(tmp_path)
    before = digests(tmp_path)
    code, output, message = here("rebuild", "image", "-o", "new")
    assert (code, output) == (2, ""), output
    assert said in message
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "does not exist"),
        (["image", "--sbom", "docs"], "want -o PATH beside --sbom"),
        (["image", "-o", "new", "--sbom", "docs"], "found a build without --sbom"),
        (["image", "-o", "new", "--vulns", "data"], "want --sbom DIR beside it"),
        (["image", "-o", "new", "--supplier", "x"], "want --sbom DIR beside it"),
        (["image", "-o", "new", "--builder", "a:b"], "want a format that has a digest"),
        (["image", "--builder", "a:b"], "want -o PATH beside"),
        (["image", "--key", "data"], "want --builder URI beside it"),
        (["image/shim/plan"], "of an image that is one file what --buildinfo wrote"),
        (["image", "--kernel", "hello"], "the first image was made without one"),
        (["hello"], "no JSON"),
        (["image", "-o", "hello"], "something that is no image"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_usage(made: Path, here: Answer, tmp_path: Path, arguments: list[str], said: str) -> None:
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    before = digests(tmp_path)
    code, _, message = here("rebuild", *arguments)
    assert (code, said in message) == (2, True), message
    assert digests(tmp_path) == before


def test_a_profile_that_is_incomplete_now(
    shim: Shim, rebuild: Shim, compile_c: Compile, hello: Path, tmp_path: Path
) -> None:
    assert shim("-o", "image", "./hello").returncode == 0
    source = "#include <unistd.h>\n#include <sys/syscall.h>\nint main(int c, char **v) { return syscall(v[0][0] * c); }\n"
    placed(hello, compile_c(source, "-static", compiler="musl-gcc"))
    done = rebuild("image")
    assert (done.returncode, "incomplete profile" in done.stderr) == (3, True)


def test_every_option_that_decides_the_tree_is_repeated(
    shim: Shim, rebuild: Shim, hello: Path, tmp_path: Path
) -> None:
    given = [
        "--env",
        "A=1",
        "--include",
        "hello:/a",
        "--exclude",
        "x",
        "--directory",
        "/spool",
        "--as",
        "/bin/it",
    ]
    given += ["--audit", "--no-pin", "--no-phases", "--require", "mseal", "--ro", "/a", "--bind", "80"]
    given += [
        "--limit",
        "nofile=64",
        "--assume",
        "no-engines",
        "--modules",
        "/usr/lib/none",
        "--uid",
        "7",
        "--gid",
        "0",
    ]
    given += ["--timeout", "90", "--new-session", "--allow-incomplete"]
    done = shim("-o", "image", "--format", "rootfs", *given, "./hello", "--", "-x", "--root")
    assert done.returncode == 0, done.stderr
    manifest = loads((tmp_path / "image/shim/manifest.json").read_bytes(), "it")
    assert manifest.arguments[1:] == ("--", "-x", "--root")
    assert set(given) - {"--audit"} <= {*manifest.request}
    done = rebuild("image")
    assert (done.returncode, "the same bytes" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_damaged_database_is_said_and_leaves_packages_out(shim: Shim, tree: Path, tmp_path: Path) -> None:
    (tree / "var/lib/dpkg/status").write_bytes(b"Package: x\n\xff\n")
    done = shim("-o", "image", "--root", "sys", "made")
    assert (done.returncode, "packages are not recorded: " in done.stderr) == (0, True)
    assert recorded(tmp_path / "image").info.manifest.packages == ()
    done = shim("-o", "other", "--root", "sys", "--sbom", "docs", "made")
    assert (done.returncode, (tmp_path / "other").exists()) == (1, False)
