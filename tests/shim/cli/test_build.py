"""`shim build` as a person types it: reproducible, confined where it runs, and clear where it refuses."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from images.manifest import loads
from tests.shim.conftest import need

ROOT = Path(__file__).resolve().parents[3]
Compile = Callable[..., bytes]
Shim = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = ("-c", "from shim.cli.main import main; main()")
HELLO = """
#include <stdio.h>
int main(int count, char **texts)
{
    printf("%d %s\\n", count, texts[count - 1]);
    return 7;
}
"""
INJECTED = (ROOT / "docs" / "examples" / "injected.c").read_text()
IN_ROOT = 'mount -t proc proc "$0/proc" && exec chroot "$0" /shim/launch /shim/plan "$@"'


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of analyses for all builds: they take most of the time."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shim(tmp_path: Path, cache: Path) -> Shim:
    def run(
        *arguments: str | Path,
        cwd: Path = tmp_path,
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        command: str = "build",
        **options: object,
    ) -> subprocess.CompletedProcess[str]:
        line = [*prefix, sys.executable, *COMMAND, command, *map(str, arguments)]
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "XDG_CACHE_HOME": str(cache),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            env=variables | (env or {}),
            cwd=cwd,
            timeout=120,
            check=False,
            **options,
        )  # type: ignore[call-overload]
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def placed(path: Path, data: bytes, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.fixture
def hello(compile_c: Compile, tmp_path: Path) -> Path:
    return placed(tmp_path / "hello", compile_c(HELLO, "-static", compiler="musl-gcc"))


def digests(place: Path) -> dict[str, tuple[int, str]]:
    """Mode, and digest or target, of a file, or of everything below a directory."""
    found = {}
    for path in [place, *sorted(place.rglob("*"))]:
        if path.is_symlink():
            found[str(path.relative_to(place))] = (0o777, str(path.readlink()))
        elif path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(place))] = (path.stat().st_mode, digest)
    return found


def in_root(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What an image does in its root directory, with /proc as a runtime mounts it."""
    if os.geteuid() != 0 or subprocess.run([need("unshare"), "-m", "true"], check=False).returncode:
        pytest.skip("changing the root directory and mounting /proc takes root")
    return subprocess.run(
        ["unshare", "-m", "-p", "-f", "sh", "-c", IN_ROOT, str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


# The interpreter may lie in a folder of root's own, which only this lets others into.
AS_NOBODY = (
    "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
    "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search",
)  # fmt: skip
WAYS: dict[str, dict[str, object]] = {
    "plain": {},
    "another time": {"env": {"FAKETIME": "1", "TZ": "Pacific/Apia"}},
    "another locale": {"env": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}},
    "another hash seed": {"env": {"PYTHONHASHSEED": "77"}},
    "another umask": {"umask": 0o077},
    "another user": {"prefix": AS_NOBODY},
}


@pytest.mark.parametrize("form", ["oci", "rootfs", "initramfs"])
def test_a_build_is_the_same_wherever_whenever_and_whoever(
    shim: Shim, compile_c: Compile, tmp_path: Path, form: str
) -> None:
    tmp_path.chmod(0o755)
    for above in list(tmp_path.parents)[:2]:  # another user has to get here
        above.chmod(0o755)
    data = compile_c(HELLO)
    seen = {}
    for number, (way, options) in enumerate(WAYS.items()):
        if "prefix" in options and (os.geteuid() != 0 or shutil.which(AS_NOBODY[0]) is None):
            continue
        folder = tmp_path / f"{number}" / ("deeper" * number or ".")
        placed(folder / "hello", data, 0o700 if "umask" in options else 0o755)
        for name in ("b", "a", "Főtan"):
            placed(folder / "data" / name, name.encode(), 0o644)
        folder.chmod(0o777)
        done = shim(
            "-o", "out", "--format", form, "--include", "./data:/data", "./hello", "x", cwd=folder, **options
        )
        assert done.returncode == 0, done.stderr
        seen[way] = digests(folder / "out")
        assert {path.name for path in folder.iterdir()} == {"hello", "data", "out"}
    assert all(found == seen["plain"] for found in seen.values()), {
        way for way, found in seen.items() if found != seen["plain"]
    }


def test_time_is_that_of_the_sources(shim: Shim, hello: Path, tmp_path: Path) -> None:
    for epoch in ("1700000000", "1700000001"):
        done = shim("-o", epoch, "--format", "rootfs", hello, env={"SOURCE_DATE_EPOCH": epoch})
        assert done.returncode == 0
        assert (tmp_path / epoch / "hello").stat().st_mtime == int(epoch)
    assert f'"created":{epoch}' in (tmp_path / epoch / "shim/manifest.json").read_text()


@pytest.mark.parametrize(
    ("options", "compiler"), [(["-static"], "musl-gcc"), (["-static"], "gcc"), ([], "gcc"), ([], "musl-gcc")]
)
def test_an_image_does_what_its_program_does(
    shim: Shim, compile_c: Compile, tmp_path: Path, options: list[str], compiler: str
) -> None:
    program = placed(tmp_path / "hello", compile_c(HELLO, *options, compiler=compiler))
    done = shim("-o", "root", "--format", "rootfs", program, "one", "two")
    assert done.returncode == 0, done.stderr
    outside = subprocess.run([str(program), "one", "two"], capture_output=True, text=True, check=False)
    inside = in_root(tmp_path / "root")
    assert (
        (inside.returncode, inside.stdout, inside.stderr)
        == (outside.returncode, outside.stdout, outside.stderr)
        == (7, "3 two\n", "")
    )


def test_a_program_is_confined_in_its_image(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    program = placed(tmp_path / "taken-over", compile_c(INJECTED, "-static", compiler="musl-gcc"))
    assert shim("-o", "root", "--format", "rootfs", program).returncode == 0
    inside = in_root(tmp_path / "root")
    assert inside.returncode == 159
    assert '"event":"violation"' in inside.stderr


def test_what_a_runtime_adds_reaches_nobody(shim: Shim, hello: Path, tmp_path: Path) -> None:
    assert shim("-o", "root", "--format", "rootfs", hello).returncode == 0
    inside = in_root(tmp_path / "root", "more")
    assert (inside.returncode, inside.stdout) == (125, "")
    assert "is in the plan, and nothing is added" in inside.stderr


def test_what_a_runtime_adds_reaches_a_program_that_takes_it(shim: Shim, hello: Path, tmp_path: Path) -> None:
    done = shim("-o", "root", "--format", "rootfs", "--arguments", "allow", hello, "own")
    assert done.returncode == 0, done.stderr
    inside = in_root(tmp_path / "root", "one", "two words")
    assert (inside.returncode, inside.stdout, inside.stderr) == (7, "4 two words\n", "")
    assert in_root(tmp_path / "root").stdout == "2 own\n"
    manifest = loads((tmp_path / "root/shim/manifest.json").read_bytes(), "manifest")
    assert manifest.request == ("--arguments", "allow")


@pytest.mark.parametrize("form", ["initramfs", "uki", "disk", "vhd", "eif"])
def test_nobody_adds_arguments_to_what_a_machine_starts(shim: Shim, hello: Path, form: str) -> None:
    kernel = [] if form == "initramfs" else ["--kernel", hello]
    done = shim("-o", "out", "--format", form, *kernel, "--arguments", "allow", hello)
    assert done.returncode == 2
    assert f"found --arguments allow for --format {form}, want one of oci, rootfs" in done.stderr


def test_a_changed_program_does_not_run(shim: Shim, hello: Path, tmp_path: Path) -> None:
    assert shim("-o", "root", "--format", "rootfs", hello).returncode == 0
    changed = bytearray((tmp_path / "root/hello").read_bytes())
    changed[-1] ^= 1
    placed(tmp_path / "root/hello", bytes(changed))
    inside = in_root(tmp_path / "root")
    assert (inside.returncode, inside.stdout) == (125, "")


def test_an_image_runs_under_runc(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    runc, umoci = need("runc"), need("umoci")
    if os.geteuid() != 0:
        pytest.skip("runc takes root here")
    program = placed(tmp_path / "hello", compile_c(HELLO))
    assert shim("-o", "layout", program, "x").returncode == 0
    subprocess.run(
        [umoci, "--log=error", "unpack", "--image", "layout:latest", "bundle"], cwd=tmp_path, check=True
    )
    config = tmp_path / "bundle/config.json"
    config.write_text(config.read_text().replace('"terminal": true', '"terminal": false'))
    name = f"shim-test-{os.getpid()}"
    done = subprocess.run(
        [runc, "run", name], cwd=tmp_path / "bundle", capture_output=True, text=True, timeout=60, check=False
    )
    if "runc run failed" in done.stderr:
        pytest.skip(f"runc does not work here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout) == (7, "2 x\n")


def test_an_image_built_from_an_image_has_the_same_files(
    shim: Shim, compile_c: Compile, tmp_path: Path
) -> None:
    program = placed(tmp_path / "usr/bin/hello", compile_c(HELLO))
    assert shim("-o", "first", "--as", "/usr/bin/hello", program, "x").returncode == 0
    for name, options in (("one", [program, "--as"]), ("two", [])):
        given = ["--as", "/usr/bin/hello", program, "x"] if options else ["--from", "oci:first", "hello", "x"]
        done = shim("-o", name, "--format", "rootfs", *given)
        assert done.returncode == 0, done.stderr
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert {path for path in one.keys() | two.keys() if one.get(path) != two.get(path)} == {
        "shim/manifest.json"
    }


def test_an_image_of_another_root(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    placed(tmp_path / "sys/usr/bin/hello", compile_c(HELLO))
    for library in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"):
        placed(tmp_path / "sys" / library[1:], Path(library).resolve().read_bytes())
    for given in ("hello", "/usr/bin/hello", "sys/usr/bin/hello"):
        done = shim("-o", "out", "--format", "rootfs", "--root", "sys", given)
        assert done.returncode == 0, done.stderr
        assert set(digests(tmp_path / "out")) >= {"usr/bin/hello", "lib/x86_64-linux-gnu/libc.so.6"}


def test_why_a_file_is_there_and_why_not(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    program = placed(tmp_path / "hello", compile_c(HELLO))
    done = shim("--explain", "/lib/x86_64-linux-gnu/libc.so.6", program)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "/hello is the program"
    assert "needed by it: libc.so.6" in done.stdout
    assert shim("--explain", "/etc/passwd", program).returncode == 1
    assert "/etc/passwd is not in the image:" in shim("--why-not", "/etc/passwd", program).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["hello"]


def test_a_manifest_has_the_options_that_decide_what_is_there(
    shim: Shim, hello: Path, tmp_path: Path
) -> None:
    given = ["--env", "A=1", "--include", "hello:/a", "--audit", "--no-pin", "--ro", "/a", "--exclude", "x"]
    aside = ["--label", "a=b", "--tag", "t", "--user", "7", "--compress", "none", "--explain", "/a"]
    done = shim("-o", "out", "--format", "rootfs", *given, *aside, hello, "x")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "/a was asked for: --include hello:/a")
    manifest = loads((tmp_path / "out/shim/manifest.json").read_bytes(), "it")
    assert sorted(manifest.request) == sorted(
        [
            "--on-violation",
            "audit",
            "--env",
            "A=1",
            "--include",
            "hello:/a",
            "--no-pin",
            "--ro",
            "/a",
            "--exclude",
            "x",
        ]
    )
    assert manifest.arguments == ("/hello", "x")


def nothing(_: Path) -> None:
    pass


def precious(folder: Path) -> None:
    placed(folder / "out/thesis", b"precious", 0o644)


def script(folder: Path) -> None:
    placed(folder / "script", b"#!/bin/sh\n")


def two_files(folder: Path) -> None:
    placed(folder / "one", b"1", 0o644)
    placed(folder / "two", b"2", 0o644)


def odd_kernel(folder: Path) -> None:
    placed(folder / "k\udcff", b"", 0o644)


def not_executable(folder: Path) -> None:
    placed(folder / "data", b"\x7fELF", 0o644)


@pytest.mark.parametrize(
    ("arguments", "prepare", "code", "said"),
    [
        (["hello"], nothing, 127, "no such program in PATH"),
        (["./gone"], nothing, 127, "No such file"),
        (["/"], nothing, 126, "a folder"),
        (["./data"], not_executable, 126, "nobody may execute"),
        (["./script"], script, 1, "a script for"),
        (["./hello"], precious, 1, "no image"),
        (["--root", "gone", "hello"], nothing, 127, "no directory"),
        (["--root", ".", "gone"], nothing, 127, "no such program in the source"),
        (["--root", ".", "--from", "oci:x", "./hello"], nothing, 2, "two sources"),
        (["--from", "x", "./hello"], nothing, 2, "want oci:DIR"),
        (["--from", "oci:gone", "./hello"], nothing, 1, "every file of an image layout"),
        (["--include", "/gone", "./hello"], nothing, 1, "nothing there"),
        (["--include", ":/x", "./hello"], nothing, 2, "want PATH"),
        (["--include", "/dev/null", "./hello"], nothing, 1, "a device, socket or pipe"),
        (["--include", "hello:/shim/launch", "./hello"], nothing, 1, "the launcher's own"),
        (["--include", "/etc/passwd:/hello", "./hello"], nothing, 1, "one file for one path"),
        (
            ["--include", "one:/x", "--include", "two:/x", "./hello"],
            two_files,
            1,
            "one file for one path",
        ),
        (["--include", "", "./hello"], nothing, 2, "want PATH"),
        (["--include", "/proc", "./hello"], nothing, 2, "want files that stay"),
        (["--include", "/proc/self/mem:/x", "./hello"], nothing, 2, "want files that stay"),
        (["--include", "/usr/../sys", "./hello"], nothing, 2, "want files that stay"),
        (["--include", "one:/proc/x", "./hello"], two_files, 1, "nothing in /proc"),
        (["--directory", "/proc/x", "./hello"], nothing, 1, "nothing in /proc"),
        (["--as", "/proc", "./hello"], nothing, 1, "one file for one path"),
        (["--as", "/proc/hello", "./hello"], nothing, 1, "nothing in /proc"),
        (["--root", ".", "--include", "x", "./hello"], nothing, 2, "want an absolute path in the source"),
        (["--directory", "x", "./hello"], nothing, 2, "want an absolute path"),
        (["--directory", "/", "./hello"], nothing, 2, "want an absolute path"),
        (["--directory", "/hello", "./hello"], nothing, 1, "one file for one path"),
        (["--as", "x", "./hello"], nothing, 2, "want an absolute path"),
        (["--as", "/a/../b", "./hello"], nothing, 2, "want an absolute path"),
        (["--as", "/shim/plan", "./hello"], nothing, 1, "the launcher's own"),
        (["--label", "x", "./hello"], nothing, 2, "want NAME=VALUE"),
        (["--format", "uki", "--kernel", "k\udcff", "./hello"], odd_kernel, 2, "want UTF-8"),
        (["--label", "a=\udcff", "./hello"], nothing, 2, "want UTF-8"),
        (["--env", "A=\udcff", "./hello"], nothing, 2, "want UTF-8"),
        (["--include", "a\udcff:/a", "./hello"], nothing, 2, "want UTF-8"),
        (["--as", "/a\udcff", "./hello"], nothing, 2, "want UTF-8"),
        (["./hello", "a\udcff"], nothing, 2, "want UTF-8"),
        (["./a\udcff"], nothing, 2, "want UTF-8"),
        (["--tag", "", "./hello"], nothing, 2, "want letters"),
        (["--tag", "../x", "./hello"], nothing, 2, "want letters"),
        (["--tag", "a b", "./hello"], nothing, 2, "want letters"),
        (["--tag", "a\n", "./hello"], nothing, 2, "want letters"),
        (["--user", "me", "./hello"], nothing, 2, "want UID"),
        (["--env", "=", "./hello"], nothing, 2, "want NAME=VALUE"),
        (["--format", "iso", "./hello"], nothing, 2, "iso"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_refused(
    shim: Shim, hello: Path, arguments: list[str], prepare: Callable[[Path], None], code: int, said: str
) -> None:
    folder = hello.parent
    prepare(folder)
    before = digests(folder)
    done = shim("-o", "out", *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert digests(folder) == before
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("epoch", ["-1", "now", "4294967296", "1.5", "٣"])
def test_a_time_that_is_none(shim: Shim, hello: Path, epoch: str) -> None:
    done = shim("-o", "out", hello, env={"SOURCE_DATE_EPOCH": epoch})
    assert (done.returncode, "want seconds since 1970" in done.stderr) == (2, True)


def test_an_incomplete_profile_is_no_image(shim: Shim, compile_c: Compile, tmp_path: Path) -> None:
    source = "#include <unistd.h>\n#include <sys/syscall.h>\nint main(int c, char **v) { return syscall(v[0][0] * c); }\n"
    program = placed(tmp_path / "open", compile_c(source, "-static", compiler="musl-gcc"))
    done = shim("-o", "out", program)
    assert done.returncode == 3
    assert "nothing was written" in done.stderr
    assert not (tmp_path / "out").exists()
    assert shim("-o", "out", "--allow-incomplete", program).returncode == 0


def test_a_place_to_write_to_is_asked_for(shim: Shim, hello: Path) -> None:
    done = shim(hello)
    assert (done.returncode, "want -o PATH" in done.stderr) == (2, True)


@pytest.mark.usefixtures("hello")
def test_a_build_that_is_told_to_end_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    """The signal comes once the hidden directory is there; a build that was faster has finished."""
    placed(tmp_path / "large", os.urandom(40 << 20), 0o644)
    command = [
        sys.executable,
        "-c",
        "from shim.cli.main import main; main()",
        "build",
        "-o",
        "out",
        "--include",
        "large:/large",
        "./hello",
    ]
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": str(ROOT),
    }
    with subprocess.Popen(
        command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as build:
        deadline = time.monotonic() + 60
        while build.poll() is None and time.monotonic() < deadline and not list(tmp_path.glob(".out.*")):
            time.sleep(0.001)
        build.terminate()
        build.communicate(timeout=60)
    assert not list(tmp_path.glob(".out.*"))
    assert build.returncode in (0, 130)
    if build.returncode == 0 or (tmp_path / "out").exists():  # an end that came too late finds it whole
        assert {"oci-layout", "index.json", "blobs"} == {path.name for path in (tmp_path / "out").iterdir()}


def test_an_image_is_as_small_as_it_says(shim: Shim, hello: Path, tmp_path: Path) -> None:
    assert shim("-o", "root", "--format", "rootfs", hello).returncode == 0
    total = sum(path.stat().st_size for path in (tmp_path / "root").rglob("*") if path.is_file())
    assert total < 250_000
    assert total - hello.stat().st_size < 200_000
    shutil.rmtree(tmp_path / "root")


OPENING = """
#include <dlfcn.h>
#include <string.h>
int main(int count, char **texts)
{
    char path[64] = "/";
    return dlopen(strcat(path, texts[count - 1]), RTLD_NOW) == 0;
}
"""


def test_modules_are_found_below_a_folder_from_where_the_user_stands(
    shim: Shim, compile_c: Compile, tmp_path: Path
) -> None:
    """The same name from another folder is another file, and no old answer of the cache."""
    placed(tmp_path / "host", compile_c(OPENING))
    for folder, code in (("a", "1"), ("b", "2")):
        module = compile_c(f"int f(void) {{ return {code}; }}", "-shared", "-fPIC")
        placed(tmp_path / folder / "modules/deep/one.node", module)
        path = f"{tmp_path}/{folder}/modules/deep/one.node"
        done = shim("--explain", path, "--modules", "./modules", "../host", cwd=tmp_path / folder)
        assert (done.returncode, f"{path} was declared" in done.stdout) == (0, True), done.stderr
