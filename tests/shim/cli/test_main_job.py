"""
The commands as a person types them, on programs that nobody here wrote where there are some.

Every bad input of the main job gets one line on standard error, the right exit code, and no traceback.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
POLICY = ROOT / "attestation" / "examples" / "policy-simulated.toml"
LAUNCHER = ROOT / "shim" / "launch" / "shim-launch"
SIMULATED = "shim: SIMULATED: the evidence is made up; it proves nothing about this machine"
MakeC = Callable[..., bytes]
Shim = Callable[..., subprocess.CompletedProcess[str]]

HELLO = '#include <stdio.h>\nint main(int c, char **v) { printf("%d %s\\n", c, v[c - 1]); return 7; }\n'
THREADS = """
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
static void *start(void *x) { puts("thread"); return x; }
int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, start, 0) || pthread_join(thread, 0)) return 1;
    puts(prctl(66 /* PR_GET_MDWE */, 0, 0, 0, 0) & 1 ? "PR_MDWE_REFUSE_EXEC_GAIN" : "nothing");
    return 0;
}
"""
STUBBORN = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
INJECTED = (ROOT / "docs" / "examples" / "injected.c").read_text()


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose cache is this test's own."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def shim(home: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from shim.cli.main import main; main()", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=home, cwd=tmp_path, timeout=120, check=False,
                              **options)  # type: ignore[call-overload]  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def hello(compile_c: MakeC, tmp_path: Path) -> Path:
    return placed(tmp_path / "hello", compile_c(HELLO, "-static", compiler="musl-gcc"))


def placed(path: Path, data: bytes, mode: int = 0o755) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_help_names_every_command(shim: Shim) -> None:
    done = shim("--help")
    assert done.returncode == 0
    for command in ("profile", "plan", "run", "inspect", "verify", "doctor"):
        assert f"  {command} " in done.stdout


def test_help_starts_nothing_heavy(home: dict[str, str]) -> None:
    code = (
        "import sys; from shim.cli.main import run; run(['--help']); "
        "print([m for m in ('cryptography', 'rich', 'iced_x86', 'elftools') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=home, check=True)
    assert lines(done.stdout)[-1] == "[]"


def test_profile_as_table_json_names_and_oci(shim: Shim, hello: Path) -> None:
    table = shim("profile", hello)
    assert table.returncode == 0
    assert "complete; sha256 " + hashlib.sha256(hello.read_bytes()).hexdigest() in table.stdout
    names = lines(shim("profile", "--format", "names", hello).stdout)
    assert {"writev", "exit_group"} <= set(names)
    assert "execve" not in names
    profile = json.loads(shim("profile", "--format", "json", hello).stdout)
    assert sorted(rule["name"] for rule in profile["phases"][0]["syscalls"]) == names
    oci = json.loads(shim("profile", "--format", "oci", hello).stdout)
    assert "SCMP_ARCH_X86_64" in oci["architectures"]


def test_profile_of_the_same_file_is_the_same_bytes(shim: Shim, hello: Path) -> None:
    assert (
        shim("profile", "--format", "json", hello).stdout == shim("profile", "--format", "json", hello).stdout
    )


def test_run_passes_arguments_output_and_status(shim: Shim, hello: Path) -> None:
    done = shim("run", "--tee", "simulated", "--", hello, "one", "-two")
    assert (done.stdout, done.returncode) == ("3 -two\n", 7)
    assert lines(done.stderr) == [SIMULATED]


def test_plan_then_static_launcher(shim: Shim, hello: Path, tmp_path: Path) -> None:
    done = shim("plan", "-o", "plan", hello, "x")
    assert done.returncode == 0
    assert hashlib.sha256((tmp_path / "plan").read_bytes()).hexdigest() in done.stdout
    launched = subprocess.run(
        [LAUNCHER, tmp_path / "plan"], capture_output=True, text=True, check=False, timeout=20
    )
    assert (launched.stdout, launched.returncode) == ("2 x\n", 7)


@pytest.mark.parametrize("options", [(), ("-static",), ("-static-pie",)])
def test_no_page_of_a_program_with_threads_may_become_code(
    shim: Shim, compile_c: MakeC, tmp_path: Path, options: tuple[str, ...]
) -> None:
    program = placed(tmp_path / "threads", compile_c(THREADS, *options))
    done = shim("run", "--tee", "simulated", "--", program)
    if "mdwe: this kernel has none" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stdout) == (0, "thread\nPR_MDWE_REFUSE_EXEC_GAIN\n"), done.stderr


def test_changed_program_is_not_launched(shim: Shim, hello: Path, tmp_path: Path) -> None:
    shim("plan", "-o", "plan", hello)
    placed(hello, hello.read_bytes() + b"\0")
    launched = subprocess.run(
        [LAUNCHER, tmp_path / "plan"], capture_output=True, text=True, check=False, timeout=20
    )
    assert launched.returncode == 125
    assert launched.stdout == ""
    assert "found" in launched.stderr


def test_injected_code_is_stopped_and_named(shim: Shim, compile_c: MakeC, tmp_path: Path) -> None:
    program = placed(tmp_path / "injected", compile_c(INJECTED, "-static", compiler="musl-gcc"))
    done = shim("run", "--tee", "simulated", "--", program)
    assert done.returncode == 128 + signal.SIGSYS
    assert done.stdout == "before the injected code\n"
    violation = lines(done.stderr)[1]
    assert violation.startswith("shim: violation: getppid [110](")
    assert "not in the profile" in violation


def test_without_a_tee_nothing_runs(shim: Shim, hello: Path) -> None:
    if any(Path(device).exists() for device in ("/dev/sev-guest", "/dev/tdx_guest", "/dev/nsm")):
        pytest.skip("this machine has a TEE")
    done = shim("run", "--", hello)
    assert (done.returncode, done.stdout) == (125, "")
    assert "found none" in done.stderr


def test_a_policy_that_does_not_match_says_claim_found_and_want(
    shim: Shim, hello: Path, tmp_path: Path
) -> None:
    text = POLICY.read_text()
    other = placed(tmp_path / "other.toml", text.replace('digest = "65', 'digest = "00').encode(), 0o644)
    done = shim("run", "--tee", "simulated", "--policy", other, "--", hello)
    assert (done.returncode, done.stdout) == (125, "")
    refusal = lines(done.stderr)
    assert any(
        "measurement" in line and "found 65" in line and "00" in line.split("want")[1] for line in refusal
    )
    assert "nothing ran" in refusal[-1]


def test_a_policy_for_another_tee_is_refused(shim: Shim, hello: Path) -> None:
    policy = ROOT / "attestation" / "examples" / "policy-snp.toml"
    done = shim("run", "--tee", "simulated", "--policy", policy, "--", hello)
    assert (done.returncode, done.stdout) == (125, "")
    assert "tee" in done.stderr


def test_a_policy_with_an_unknown_key_is_refused_with_its_line(
    shim: Shim, hello: Path, tmp_path: Path
) -> None:
    other = placed(tmp_path / "odd.toml", b"colour = 1\n" + POLICY.read_bytes(), 0o644)
    done = shim("run", "--tee", "simulated", "--policy", other, "--", hello)
    assert (done.returncode, done.stdout) == (125, "")
    assert "odd.toml:1: colour" in done.stderr


def test_incomplete_profile_needs_to_be_allowed(shim: Shim, compile_c: MakeC, tmp_path: Path) -> None:
    source = '#include <unistd.h>\nint main(int c, char **v) { (void)v; if (c > 1) __asm__("int $0x80" : : "a"(20)); return 3; }\n'
    program = placed(tmp_path / "old", compile_c(source, "-static", compiler="musl-gcc"))
    profiled = shim("profile", program)
    assert profiled.returncode == 3
    assert "int 0x80" in profiled.stderr
    assert "INCOMPLETE" in profiled.stdout
    refused = shim("run", "--tee", "simulated", "--", program)
    assert refused.returncode == 125
    assert "incomplete profile" in refused.stderr
    allowed = shim("run", "--tee", "simulated", "--allow-incomplete", "--", program)
    assert allowed.returncode == 3
    stopped = shim("run", "--tee", "simulated", "--allow-incomplete", "--", program, "x")
    assert stopped.returncode == 128 + signal.SIGSYS


def test_output_goes_into_a_pipe_and_through_a_link(shim: Shim, hello: Path, tmp_path: Path) -> None:
    """A device, a pipe or a link is written into; replacing it would take it away from everybody."""
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True)
    assert shim("profile", "--format", "names", "-o", "pipe", hello).returncode == 0
    assert "exit_group" in reader.communicate(timeout=20)[0]
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to("target")
    assert shim("profile", "--format", "names", "-o", "link", hello).returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert "exit_group" in (tmp_path / "target").read_text()


def test_output_that_cannot_be_written_leaves_nothing(shim: Shim, hello: Path, tmp_path: Path) -> None:
    done = shim("profile", "-o", tmp_path, hello)
    assert (done.returncode, len(lines(done.stderr))) == (1, 1)
    assert "want a writable file" in done.stderr
    assert shim("profile", "-o", "no/such/folder", hello).returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".cache", "hello"]


def needy(folder: Path) -> bytes:
    """Return a program that needs a library which is gone."""
    (folder / "gone.c").write_text("int gone(void) { return 1; }")
    (folder / "needy.c").write_text("int gone(void); int main(void) { return gone(); }")
    library = folder / "libgone.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wl,-soname,libgone.so", "-o", library, folder / "gone.c"], check=True
    )
    subprocess.run(["gcc", "-o", folder / "needing", folder / "needy.c", library], check=True)
    library.unlink()
    return (folder / "needing").read_bytes()


# What a user may name by mistake, with the exit codes of `profile` and `run` and a piece of the message.
def bad_inputs(tmp_path: Path) -> dict[str, tuple[Path | str, int, int, str]]:
    return {
        "missing": (tmp_path / "nothing", 127, 127, "No such file"),
        "folder": (tmp_path, 126, 126, "a folder"),
        "device": (Path("/dev/null"), 126, 126, "no regular file"),
        "script": (placed(tmp_path / "script", b"#!/bin/sh\necho hi\n"), 1, 125, "a script for '/bin/sh'"),
        "text": (placed(tmp_path / "text", b"some text\n"), 1, 125, "want an ELF file"),
        "empty": (placed(tmp_path / "empty", b""), 1, 125, "an empty file"),
        "library missing": (placed(tmp_path / "needy", needy(tmp_path)), 1, 125, "libgone.so, needed by"),
        "new line in the name": (placed(tmp_path / "two\nlines", b"text"), 1, 125, "two\\x0alines"),
        "not UTF-8 in the name": (
            placed(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")), b"text"),
            1,
            125,
            "\\x",
        ),
    }


@pytest.mark.parametrize(
    "name",
    ["missing", "folder", "device", "script", "text", "empty", "library missing", "new line in the name", "not UTF-8 in the name"],
)  # fmt: skip
def test_bad_programs_get_one_line(name: str, shim: Shim, tmp_path: Path) -> None:
    program, profile_code, run_code, text = bad_inputs(tmp_path)[name]
    for arguments, code in (
        (("profile", program), profile_code),
        (("plan", "-o", tmp_path / "plan", program), profile_code),
        (("run", "--tee", "simulated", "--", program), run_code),
    ):
        done = shim(*arguments)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert text in done.stderr
        assert len(lines(done.stderr)) == 1, done.stderr
    assert not (tmp_path / "plan").exists()


def test_a_program_that_is_not_executable(shim: Shim, hello: Path) -> None:
    hello.chmod(0o644)
    assert shim("run", "--tee", "simulated", "--", hello).returncode == 126


def test_a_name_without_a_slash_is_looked_up(shim: Shim) -> None:
    done = shim("run", "--tee", "simulated", "--", "no-such-program-anywhere")
    assert done.returncode == 127


def test_the_environment_is_empty_but_for_what_is_passed(
    shim: Shim, compile_c: MakeC, tmp_path: Path
) -> None:
    source = "#include <stdio.h>\nextern char **environ;\nint main(void) { for (char **e = environ; *e; e++) puts(*e); return 0; }\n"
    program = placed(tmp_path / "env", compile_c(source, "-static", compiler="musl-gcc"))
    done = shim("run", "--tee", "simulated", "--env", "A=b=c", "--env", "HOME", "--", program)
    assert lines(done.stdout) == ["A=b=c", f"HOME={tmp_path}"]


@pytest.fixture
def stubborn(compile_c: MakeC, tmp_path: Path) -> Path:
    return placed(tmp_path / "stubborn", compile_c(STUBBORN, "-static", compiler="musl-gcc"))


def running(program: Path) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "exe").readlink() == program:
                    yield int(entry.name)
            except OSError:
                continue


def started(home: dict[str, str], program: Path, folder: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Return `shim run` once its program runs, and by when everything must be over."""
    command = [
        sys.executable,
        "-c",
        "from shim.cli.main import main; main()",
        "run",
        "--tee",
        "simulated",
        "--",
        str(program),
    ]
    process = subprocess.Popen(command, env=home, cwd=folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not list(running(program)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, deadline


def test_nothing_is_left_when_the_launcher_dies(home: dict[str, str], stubborn: Path, tmp_path: Path) -> None:
    process, deadline = started(home, stubborn, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    while list(running(stubborn)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_signal_is_passed_on(home: dict[str, str], stubborn: Path, tmp_path: Path) -> None:
    process, _ = started(home, stubborn, tmp_path)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM


def test_the_cache_is_used_and_not_trusted_blindly(shim: Shim, hello: Path, tmp_path: Path) -> None:
    shim("run", "--tee", "simulated", "--", hello)
    (entry,) = (tmp_path / ".cache" / "shim" / "profiles").iterdir()
    entry.write_bytes(entry.read_bytes().replace(b'"complete":true', b'"complete":maybe'))
    assert shim("run", "--tee", "simulated", "--", hello).returncode == 7
    seen, _, kept = entry.read_text().partition("\n")
    widened = json.loads(kept)
    widened["phases"][0]["syscalls"].clear()
    entry.write_text(f"{seen}\n{json.dumps(widened)}")
    entry.chmod(0o666)
    assert shim("run", "--tee", "simulated", "--", hello).returncode == 7


def test_the_cache_is_never_written_through_a_link_or_into_a_foreign_folder(
    shim: Shim, hello: Path, tmp_path: Path
) -> None:
    folder = tmp_path / ".cache" / "shim" / "profiles"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert shim("run", "--tee", "simulated", "--", hello).returncode == 7
    assert list(folder.iterdir()) == []
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert shim("run", "--tee", "simulated", "--", hello).returncode == 7
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("home_now", [None, "", "relative"])
def test_no_cache_without_a_home(
    home_now: str | None, home: dict[str, str], shim: Shim, hello: Path, tmp_path: Path
) -> None:
    del home["HOME"]
    if home_now is not None:
        home["HOME"] = home_now
    assert shim("run", "--tee", "simulated", "--", hello).returncode == 7
    assert [path.name for path in tmp_path.iterdir()] == ["hello"]


def test_the_launcher_cannot_be_written_into(shim: Shim, compile_c: MakeC, tmp_path: Path) -> None:
    source = """
    #include <fcntl.h>
    #include <stdio.h>
    #include <unistd.h>
    #include <sys/stat.h>
    int main(void) { struct stat s; char p[64]; sprintf(p, "/proc/%d/mem", getppid()); return stat(p, &s) || s.st_uid != 0 ? 1 : 42; }
    """
    program = placed(tmp_path / "writer", compile_c(source, "-static", compiler="musl-gcc"))
    if os.geteuid() == 0:
        tmp_path.chmod(0o755)
        pytest.skip("for root the owner of /proc/PID says nothing; as an ordinary user this runs")
    assert shim("run", "--tee", "simulated", "--", program).returncode == 42


@pytest.mark.parametrize("arguments", [["run"], ["run", "--tee", "bogus", "x"], ["run", "--env", "=x", "--", "/bin/true"],
                                       ["run", "--tee", "simulated", "--nonce", "00" * 32, "--", "/bin/true"]])  # fmt: skip
def test_a_launch_that_is_asked_for_wrongly_is_125(arguments: list[str], shim: Shim) -> None:
    done = shim(*arguments)
    assert (done.returncode, len(lines(done.stderr))) == (125, 1)
    assert shim("profile").returncode == 2


@pytest.mark.parametrize(
    "command", ["profile {hello}", "profile --format json {hello}", "doctor", "plan -o - {hello}"]
)
@pytest.mark.parametrize("target", ["> /dev/full", ">&-"])
def test_output_that_nobody_takes_is_said(
    command: str, target: str, home: dict[str, str], hello: Path, tmp_path: Path
) -> None:
    line = (
        f"{sys.executable} -c 'from shim.cli.main import main; main()' {command.format(hello=hello)} {target}"
    )
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, env=home, cwd=tmp_path, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr
    if target != ">&-" or command != "doctor":
        assert (done.returncode, len(lines(done.stderr))) == (1, 1), done.stderr


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-"])
def test_a_launch_with_closed_streams_keeps_the_status(
    streams: str, home: dict[str, str], compile_c: MakeC, tmp_path: Path
) -> None:
    program = placed(
        tmp_path / "quiet", compile_c("int main(void) { return 9; }", "-static", compiler="musl-gcc")
    )
    line = f"{sys.executable} -c 'from shim.cli.main import main; main()' run --tee simulated -- {program} {streams}"
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, env=home, cwd=tmp_path, check=False, timeout=60
    )
    assert done.returncode == 9, done.stderr


def test_a_deleted_working_directory_gets_one_line(home: dict[str, str], hello: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"rmdir ../gone; {sys.executable} -c 'from shim.cli.main import main; main()' run --tee simulated -- ./x"
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, env=home, cwd=gone, check=False, timeout=60
    )
    assert (done.returncode, len(lines(done.stderr))) == (127, 1), done.stderr
    assert hello.exists()


BUSYBOX = Path("/usr/bin/busybox")
APPLETS = [
    (["echo", "hi"], 0), (["true"], 0), (["false"], 1), (["uname", "-s"], 0), (["ls", "/"], 0), (["cat", "/etc/passwd"], 0),
    (["sort", "/etc/passwd"], 0), (["sha256sum", "/etc/passwd"], 0), (["grep", "-c", "root", "/etc/passwd"], 0),
    (["sed", "s/root/toor/", "/etc/passwd"], 0), (["awk", "-F:", "{print $1}", "/etc/passwd"], 0), (["seq", "3"], 0),
    (["expr", "1", "+", "1"], 0), (["sh", "-c", "echo $((6*7)); (exit 5)"], 5), (["stat", "/etc/passwd"], 0),
    (["cat", "/nonexistent"], 1),
]  # fmt: skip


@pytest.mark.parametrize(("applet", "code"), APPLETS, ids=[" ".join(applet)[:24] for applet, _ in APPLETS])
def test_busybox_behaves_as_outside(
    applet: list[str], code: int, busybox_plan: Callable[[list[str]], Path]
) -> None:
    outside = subprocess.run([BUSYBOX, *applet], capture_output=True, check=False, env={})
    inside = subprocess.run([LAUNCHER, busybox_plan(applet)], capture_output=True, check=False, timeout=30)
    assert (inside.returncode, inside.stdout) == (outside.returncode, outside.stdout)
    assert inside.returncode == code


@pytest.fixture(scope="module")
def busybox_plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], Path]:
    if not BUSYBOX.exists() or shutil.which("ldd") is None:
        pytest.skip("Debian's busybox-static is not installed")
    if subprocess.run(["ldd", BUSYBOX], capture_output=True, check=False).returncode == 0:
        pytest.skip(f"{BUSYBOX} is not the static one")
    from shim.analysis.derive import derive  # noqa: PLC0415  # only where it is needed: it takes a second
    from shim.launch.compose import compose  # noqa: PLC0415
    from shim.launch.plan_codec import encode  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("plans")
    profile = derive(BUSYBOX.read_bytes(), str(BUSYBOX))

    def make(arguments: list[str]) -> Path:
        target = folder / str(len(list(folder.iterdir())))
        target.write_bytes(encode(compose(profile, str(BUSYBOX), ["busybox", *arguments], {})))
        return target

    return make
