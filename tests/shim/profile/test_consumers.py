"""
Exports in the hands of those they are for: container runtimes, systemd, libseccomp, bubblewrap.

Where the consumer installs a filter, it is read back from the kernel and asked about every syscall.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from shim.cli.formats import write
from shim.filter import FilterProgram, SeccompData, check, compile_filter, simulate
from shim.filter.actions import ACTION_MASK, ALLOW, ENOSYS_ACTION, KILL_PROCESS, KILL_THREAD
from shim.profile.export.oci import RUNTIME_CALLS
from shim.profile.export.rules import exported_rules
from shim.profile.export.systemd import HAND_OVER
from shim.profile.profile import AnalysedObject, ArgumentCondition, Phase, Profile, SyscallRule
from shim.syscalls import table

CONSUMERS = Path(__file__).parent / "consumers"
X86_64 = table("x86_64")
UNKNOWN = (400, 500, 1000)
READ, PAUSE, IOCTL, SOCKET, PTRACE, UNAME, FUTURE = 0, 34, 16, 41, 101, 63, 900

# What a static musl program that forks and prints needs, and the three calls it is asked about.
ASKS = (
    "read write writev close brk mmap munmap fork clone wait4 exit_group "
    "rt_sigaction rt_sigprocmask rt_sigreturn set_tid_address arch_prctl gettid getpid fstat ioctl uname"
)
TCGETS = ((ArgumentCondition(1, "masked_eq", 0x5401, 0xFFFF_FFFF),),)
SOCKETS = (
    (ArgumentCondition(0, "eq", 1),),
    (ArgumentCondition(0, "eq", 2), ArgumentCondition(1, "masked_eq", 1, 0xF)),
    (ArgumentCondition(0, "ge", 10), ArgumentCondition(0, "le", 12), ArgumentCondition(2, "ne", 7)),
)
Arguments = tuple[int, int, int, int, int, int]


def of_names(
    names: Iterable[str], conditions: dict[str, tuple[tuple[ArgumentCondition, ...], ...]]
) -> Profile:
    rules = [SyscallRule(X86_64.number(name), name, conditions.get(name, ())) for name in names]
    rules.sort(key=lambda rule: rule.number)
    first = Phase("startup", None, tuple(rules[::2]))
    later = Phase("main", 0x40_1000, tuple(rules[1::2]))
    return Profile("x86_64", (AnalysedObject("/p", "00" * 32, ""),), (first, later), (), (), (), "0")


ASKING = of_names(ASKS.split(), {})
WAITING = of_names(
    ["pause", "arch_prctl", "set_tid_address", "ioctl", "socket", "openat"],
    {"ioctl": TCGETS, "socket": SOCKETS},
)


def arguments() -> Iterator[Arguments]:
    yield (0,) * 6
    for request in (0x5401, 0x5402, 0x5401 + 2**32):
        yield (1, request, 0, 0, 0, 0)
    for domain in (0, 1, 2, 3, 9, 10, 11, 12, 13, 2**32 + 1, 2**64 - 1):
        for kind in (0, 1, 0x80001, 2):
            for protocol in (0, 7):
                yield (domain, kind, protocol, 0, 0, 0)


def answer(filters: list[FilterProgram], call: SeccompData) -> int:
    """What the kernel makes of several filters: the strictest action; KILL_PROCESS is the lowest, signed."""
    return min(
        (simulate(program, call).action for program in filters), key=lambda a: a - 2**32 if a >> 31 else a
    )


def require_same_verdicts(
    filters: list[FilterProgram],
    profile: Profile,
    also: tuple[str, ...] = (),
    *,
    known: Callable[[str], bool] = lambda _name: True,
    conditions: bool = True,
    spared: tuple[str, ...] = (),
) -> None:
    """Compare over the whole table, unknown numbers, x32 and i386, with arguments where there are conditions."""
    rules = exported_rules(profile, also)
    if not conditions:
        rules = tuple(replace(rule, conditions=()) for rule in rules)
    ours = compile_filter(rules, X86_64)
    limited = {rule.number for rule in rules if rule.conditions}
    for number in [*X86_64, *UNKNOWN, X86_64.foreign_from, X86_64.foreign_from + READ]:
        name = X86_64.names.get(number, "")
        for values in arguments() if number in limited else ((0,) * 6,):
            call = SeccompData(number, X86_64.audit_arch, 0, values)
            want = simulate(ours, call).action
            if name and (not known(name) or name in spared):
                want = ENOSYS_ACTION
            if want == KILL_PROCESS and number in limited:
                want = ENOSYS_ACTION  # none of these formats has an "else" for such a call
            found = answer(filters, call)
            if number >= X86_64.foreign_from:
                found = KILL_PROCESS if found == KILL_THREAD else found
            assert found & ACTION_MASK == want & ACTION_MASK, (name or number, values, hex(found), hex(want))
            assert found == want, (name or number, values)
    i386 = answer(filters, SeccompData(READ, 0x4000_0003))
    assert i386 in (KILL_PROCESS, KILL_THREAD)


def need(*tools: str) -> None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("namespaces and other processes' filters are read as root")


def known_to_libseccomp(name: str) -> bool:
    need("scmp_sys_resolver")
    text = subprocess.run(["scmp_sys_resolver", name], capture_output=True, text=True, check=True).stdout
    return int(text) >= 0


@pytest.fixture(scope="module")
def names_known() -> Callable[[str], bool]:
    """Which names the installed libseccomp resolves: older than the table, it lacks the newest."""
    need("scmp_sys_resolver")
    known = {name for name in X86_64.numbers if known_to_libseccomp(name)}
    assert len(known) > 300
    return known.__contains__


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled programs of `consumers`."""
    need("gcc", "musl-gcc")
    folder = tmp_path_factory.mktemp("consumers")
    for compiler, name in (("musl-gcc", "asks"), ("musl-gcc", "waits"), ("gcc", "read_filters")):
        options = ["-static"] if compiler == "musl-gcc" else []
        command = [
            compiler,
            "-O1",
            "-Wall",
            "-Werror",
            *options,
            "-o",
            folder / name,
            CONSUMERS / f"{name}.c",
        ]
        subprocess.run(command, check=True, timeout=60)
    return folder


def filters_of(tools: Path, pid: int) -> list[FilterProgram]:
    done = subprocess.run([tools / "read_filters", str(pid)], capture_output=True, check=False, timeout=20)
    if b"PTRACE_SECCOMP_GET_FILTER" in done.stderr:
        pytest.skip(f"the kernel shows no filters: {done.stderr.decode().strip()}")
    assert done.returncode == 0, f"the program is gone: {done.stderr.decode()}"
    filters, data = [], done.stdout
    while data:
        (count,) = struct.unpack_from("<I", data)
        filters.append(FilterProgram.decode(data[4 : 4 + 8 * count]))
        data = data[4 + 8 * count :]
    return filters


def started(executable: Path, seconds: float) -> int | None:
    """Return the number of the process that executes `executable`, in whatever namespace."""
    want = os.stat(executable)  # noqa: PTH116  # compared with what a link of /proc leads to
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for entry in Path("/proc").iterdir():
            try:
                found = entry.name.isdecimal() and os.stat(entry / "exe")  # noqa: PTH116
            except OSError:
                continue
            if found and (found.st_ino, found.st_dev) == (want.st_ino, want.st_dev):
                return int(entry.name)
        time.sleep(0.05)
    return None


@contextmanager
def in_namespaces(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in namespaces that end with it, and end it."""
    unshare = ["unshare", "--kill-child=KILL", "--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc"]
    process = subprocess.Popen([*unshare, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


# --- libseccomp


@pytest.mark.parametrize("profile", [ASKING, WAITING], ids=["plain", "conditions"])
def test_the_c_file_compiles_and_answers_as_our_filter(profile: Profile, tmp_path: Path) -> None:
    need("gcc")
    if not Path("/usr/include/seccomp.h").exists():
        pytest.skip("seccomp.h is not installed (libseccomp-dev)")
    (tmp_path / "filter.c").write_bytes(write(profile, "libseccomp"))
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    command = [
        "gcc",
        *strict,
        "-o",
        tmp_path / "export",
        tmp_path / "filter.c",
        CONSUMERS / "main_export.c",
        "-lseccomp",
    ]
    subprocess.run(command, check=True, timeout=60)
    exported = subprocess.run([tmp_path / "export"], capture_output=True, check=True, timeout=20).stdout
    program = FilterProgram.decode(exported)
    check(program)
    require_same_verdicts([program], profile)


# --- systemd


def drop_in(folder: Path, profile: Profile, executable: Path) -> None:
    unit = f"[Unit]\nDefaultDependencies=no\n[Service]\nType=exec\nExecStart={executable}\n"
    (folder / "waits.service").write_text(unit)
    (folder / "waits.service.d").mkdir()
    earlier = "[Service]\nSystemCallFilter=@mount:EPERM ptrace\nSystemCallArchitectures=x86\n"
    (folder / "waits.service.d" / "0.conf").write_text(earlier)
    (folder / "waits.service.d" / "1.conf").write_bytes(write(profile, "systemd"))


def test_systemd_installs_what_the_drop_in_says(
    tools: Path, tmp_path: Path, names_known: Callable[[str], bool]
) -> None:
    need("unshare")
    need_root()
    if not Path("/lib/systemd/systemd").exists():
        pytest.skip("systemd is not installed")
    units, free, waits = tmp_path / "units", tmp_path / "free", tmp_path / "waits"
    units.mkdir()
    for copy in (free, waits):
        shutil.copy(tools / "waits", copy)
    (units / "waits.service").write_text(f"[Unit]\nDefaultDependencies=no\n[Service]\nExecStart={free}\n")
    with in_namespaces("sh", CONSUMERS / "systemd_inside.sh", units):
        if started(free, 10) is None:
            pytest.skip("systemd starts no service in namespaces here")
    (units / "waits.service").unlink()
    drop_in(units, WAITING, waits)
    with in_namespaces("sh", CONSUMERS / "systemd_inside.sh", units) as manager:
        pid = started(waits, 10)
        if pid is None:
            manager.kill()
            pytest.fail(f"the service did not start: {manager.stdout.read() if manager.stdout else b''!r}")
        time.sleep(0.3)
        filters = filters_of(tools, pid)
    require_same_verdicts(
        filters, WAITING, HAND_OVER, known=names_known, conditions=False, spared=("execveat",)
    )


def test_systemd_verifies_the_drop_in(tmp_path: Path, names_known: Callable[[str], bool]) -> None:
    need("systemd-analyze", "true")
    drop_in(tmp_path, WAITING, Path(shutil.which("true") or "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / "waits.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    about = [line for line in done.stderr.splitlines() if "1.conf" in line]
    skipped = {line.split("ignoring: ")[-1].removesuffix(":kill") for line in about if "ignoring: " in line}
    assert len(about) == len(skipped), about
    assert skipped == {name for name in X86_64.numbers if not names_known(name)}


# --- container runtimes


@pytest.fixture
def bundle(tools: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(seccomp: bytes, *command: str) -> Path:
        folder = tmp_path / "bundle"
        for name in ("proc", "dev"):
            (folder / "rootfs" / name).mkdir(parents=True)
        for name in ("asks", "waits"):
            shutil.copy(tools / name, folder / "rootfs" / name)
        config = {
            "ociVersion": "1.0.2",
            "process": {
                "args": list(command),
                "cwd": "/",
                "user": {"uid": 0, "gid": 0},
                "noNewPrivileges": True,
            },
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
                "seccomp": json.loads(seccomp),
            },
        }
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def runtime_command(runtime: str, folder: Path) -> list[str]:
    name = f"shim-test-{os.getpid()}"
    if runtime == "crun":
        return ["unshare", "--mount", "--cgroup", "sh", str(CONSUMERS / "crun_inside.sh"), str(folder), name]
    return [runtime, "--root", str(folder / "state"), "run", "--bundle", str(folder), name]


def need_runtime(runtime: str) -> None:
    need(runtime, "unshare")
    need_root()


QUESTIONS = {READ: "0", PTRACE: "killed 31", UNAME: "0", FUTURE: "38"}


def replies(text: str) -> dict[int, str]:
    return {int(line.split()[0]): line.split(" ", 1)[1].strip() for line in text.splitlines()}


def started_at_all(runtime: str, folder: Path) -> None:
    """Skip where the runtime cannot run even a program without a filter."""
    config = json.loads((folder / "config.json").read_text())
    del config["linux"]["seccomp"]
    other = folder.with_name("unfiltered")
    shutil.copytree(folder, other)
    (other / "config.json").write_text(json.dumps(config))
    done = subprocess.run(
        runtime_command(runtime, other), capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        pytest.skip(f"{runtime} runs no container here: {done.stderr.strip()[-200:]}")


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_container_runs_under_the_profile_and_no_further(runtime: str, bundle: Callable[..., Path]) -> None:
    need_runtime(runtime)
    folder = bundle(write(ASKING, "docker"), "/asks", *map(str, QUESTIONS))
    started_at_all(runtime, folder)
    done = subprocess.run(
        runtime_command(runtime, folder), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert replies(done.stdout) == QUESTIONS


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_container_runtime_installs_what_the_profile_says(
    runtime: str, bundle: Callable[..., Path], tools: Path, names_known: Callable[[str], bool]
) -> None:
    need_runtime(runtime)
    folder = bundle(write(WAITING, "docker"), "/waits")
    process = subprocess.Popen(
        runtime_command(runtime, folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        pid = started(folder / "rootfs" / "waits", 15)
        if pid is None:
            process.kill()
            output = process.communicate(timeout=20)[0]
            pytest.fail(f"the container did not start: {output.decode()[-300:]}")
        try:
            filters = filters_of(tools, pid)
        finally:
            os.kill(pid, 9)
    finally:
        process.wait(timeout=30)
        if process.stdout:
            process.stdout.close()
    require_same_verdicts(filters, WAITING, RUNTIME_CALLS, known=names_known)


# --- raw BPF


def test_the_raw_filter_is_ours_for_all_phases() -> None:
    assert FilterProgram.decode(write(WAITING, "bpf")) == compile_filter(exported_rules(WAITING), X86_64)
    with_exec = FilterProgram.decode(write(WAITING, "bwrap"))
    check(with_exec)
    assert simulate(with_exec, SeccompData(59, X86_64.audit_arch)).action == ALLOW


def bubblewrap(form: str, tools: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "filter").write_bytes(write(ASKING, form))
    with (tmp_path / "filter").open("rb") as filter_file:
        number = str(filter_file.fileno())
        command = ["bwrap", "--ro-bind", "/", "/", "--seccomp", number, tools / "asks", *map(str, QUESTIONS)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=30, pass_fds=[filter_file.fileno()]
        )


def test_bubblewrap_takes_the_raw_filter(tools: Path, tmp_path: Path) -> None:
    need("bwrap")
    done = bubblewrap("bwrap", tools, tmp_path)
    if "namespace" in done.stderr:
        pytest.skip(f"bubblewrap makes no namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert replies(done.stdout) == QUESTIONS


def test_bubblewrap_cannot_start_a_program_that_may_not_execute(tools: Path, tmp_path: Path) -> None:
    need("bwrap")
    done = bubblewrap("bpf", tools, tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
