"""
A program that has been taken over: one small attack in each file of tests/probes/hostile.

The filter is that of a program which reads, writes, starts threads and processes and waits, as the compiler
makes it; nothing here knows of an attack but its own call.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shim.filter import compile_filter
from shim.filter.actions import USER_NOTIF
from shim.launch.confinement import Confinement, landlock_for
from shim.launch.plan import Landlock, LaunchPlan, PlanFlag
from shim.launch.plan_codec import encode
from shim.profile.profile import AnalysedObject, ArgumentCondition, Phase, Profile, SyscallRule
from shim.syscalls import table
from tests.native.launching import ROOT, Face

HOSTILE = ROOT / "tests" / "probes" / "hostile"
Build = Callable[[str], Path]
X86_64 = table("x86_64")
EXEC_BIT, NEW_LISTENER = 4, 8
NAMESPACES = 0x7E02_0000
PLAIN = """read write close fstat lseek munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64 writev
getpid getppid gettid fork vfork exit wait4 kill tgkill fcntl open openat futex nanosleep clock_nanosleep
tkill set_tid_address exit_group memfd_create ftruncate link linkat dup2 sched_yield readv madvise arch_prctl"""


def conditional(name: str, *alternatives: ArgumentCondition) -> SyscallRule:
    return SyscallRule(X86_64.numbers[name], name, tuple((one,) for one in alternatives))


CONDITIONAL = (
    conditional("mmap", ArgumentCondition(2, "masked_eq", 0, EXEC_BIT)),
    conditional("mprotect", ArgumentCondition(2, "masked_eq", 0, EXEC_BIT)),
    conditional("clone", ArgumentCondition(0, "masked_eq", 0, NAMESPACES)),
    conditional("ioctl", ArgumentCondition(1, "eq", 0x5401), ArgumentCondition(1, "eq", 0x5413)),
    conditional("personality", ArgumentCondition(0, "eq", 0xFFFF_FFFF)),
    conditional("seccomp", ArgumentCondition(1, "masked_eq", 0, NEW_LISTENER)),
)


@dataclass(frozen=True)
class Verdict:
    """
    What becomes of an attack: refused calls by number, or how the program ends, and what it says.

    `without` are calls that this program's profile does not have; `with_any` those that it has with any
    arguments.
    """

    refused: tuple[int, ...] = ()
    exit_codes: tuple[int, ...] = (0,)
    output: str = "blocked\n"
    flags: PlanFlag = PlanFlag(0)  # noqa: RUF009  # a number
    files: bool = False
    signals: bool = False
    without: tuple[str, ...] = ()
    with_any: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the verdict in words."""
        if self.refused and not self.output:
            return f"refused: {' '.join(map(_name, self.refused))}"
        return (
            "killed by the kernel" if not self.output else "fails" if self.exit_codes == (0,) else "harmless"
        )


def _name(number: int) -> str:
    return X86_64.name(number) if number in X86_64 else hex(number & 0xFFFF_FFFF)


def refused(name: str | int, **more: object) -> Verdict:
    number = X86_64.numbers[name] if isinstance(name, str) else name
    return Verdict((number,), (159,), "", **more)  # type: ignore[arg-type]


MDWE = PlanFlag.NO_EXEC_GAIN
VERDICTS: dict[str, Verdict] = {
    "io_uring": refused("io_uring_setup"),
    "userfaultfd": refused("userfaultfd"),
    "ptrace_launcher": refused("ptrace"),
    "ptrace_child": refused("ptrace"),
    "write_sibling": refused("process_vm_writev"),
    "write_launcher": refused("process_vm_writev"),
    "launcher_memory": Verdict(files=True),
    "own_memory": Verdict(files=True),
    "writable_code": refused("mmap"),
    "code_of_data": refused("mprotect"),
    "code_of_memfd": refused("mmap"),
    "personality": refused("personality"),
    "personality_high_half": refused("personality"),
    "unshare_user": refused("unshare"),
    "clone_user": refused("clone"),
    "clone3_user": refused("clone3"),
    "setns": refused("setns"),
    "keyctl": refused("keyctl"),
    "add_key": refused("add_key"),
    "bpf": refused("bpf"),
    "perf": refused("perf_event_open"),
    "module": refused("init_module"),
    "module_of_file": refused("finit_module"),
    "kexec": refused("kexec_load"),
    "filter_stack": refused("seccomp", without=("seccomp",)),
    "filter_by_prctl": refused("prctl"),
    "own_listener": refused("seccomp"),
    "become_traceable": refused("prctl"),
    "kill_launcher": Verdict(signals=True),
    "stop_launcher": Verdict(signals=True),
    "thread_of_launcher": Verdict(signals=True),
    "queue_to_launcher": refused("rt_sigqueueinfo"),
    "files_of_launcher": refused("pidfd_open"),
    "type_for_others": refused("ioctl"),
    "type_high_half": refused("ioctl"),
    "mount": refused("mount"),
    "chroot": refused("chroot"),
    "pivot": refused("pivot_root"),
    "by_handle": refused("open_by_handle_at"),
    "reboot": refused("reboot"),
    "clock": refused("clock_settime"),
    "ports": refused("iopl"),
    "segments": refused("modify_ldt"),
    "fanotify": refused("fanotify_init"),
    "swap": refused("swapon"),
    "accounting": refused("acct"),
    "unknown_number": Verdict(),
    "negative_number": refused(-1),
    "number_high_half": refused("getpgrp"),
    "other_abi": Verdict(exit_codes=(159, 139), output=""),
    "x32": refused(0x4000_0000 | 110),
    "vsyscall": Verdict((201,), (159, 139), ""),
    "exec_path": refused("execve"),
    "exec_at": refused("execveat"),
    "exec_file": refused("execveat"),
    "exec_absolute": refused("execveat"),
    "exec_itself": refused("execve"),
    "exec_memfd": refused("execveat"),
    "exec_script": refused("execve"),
    "exec_thread": refused("execve"),
    "exec_vfork": refused("execve"),
    "flood": Verdict((110,) * 12800, flags=PlanFlag.ERRNO, without=("getppid",)),
    "inherited_files": Verdict(),
    "closed_files": Verdict(),
    "changing_path": Verdict(files=True),
    "link_out": Verdict(files=True),
    "open_by_proc": Verdict(files=True),
    "abort_self": Verdict(exit_codes=(134,)),
}
# The same attack where the filter cannot help, because the program's profile has the call.
OTHERWISE: dict[str, Verdict] = {
    "writable_code": Verdict(flags=MDWE, with_any=("mmap",)),
    "code_of_data": Verdict(flags=MDWE, with_any=("mprotect",)),
    "setns": Verdict(files=True, with_any=("setns",)),
    "mount": Verdict(with_any=("mount",)),
    "chroot": Verdict(with_any=("chroot",)),
    "module": Verdict(with_any=("init_module",)),
    "clock": Verdict(with_any=("clock_settime",)),
    "by_handle": Verdict(with_any=("open_by_handle_at",)),
    "reboot": Verdict(with_any=("reboot",)),
    "write_launcher": Verdict(with_any=("process_vm_writev",)),
    "ptrace_launcher": Verdict(with_any=("ptrace",)),
    "files_of_launcher": Verdict(with_any=("pidfd_open", "pidfd_getfd")),
    "queue_to_launcher": Verdict(signals=True, with_any=("rt_sigqueueinfo",)),
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile an attack, once."""
    folder = tmp_path_factory.mktemp("hostile")

    def compiled(name: str) -> Path:
        program = folder / name
        if not program.exists():
            source = HOSTILE / f"{name}.c"
            subprocess.run(["musl-gcc", "-static", "-O1", str(source), "-o", str(program)], check=True)
        return program

    return compiled


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    for name in ("shim-hostile-script", "shim-hostile-link"):
        Path("/tmp", name).unlink(missing_ok=True)  # noqa: S108  # where the attacks leave them


def plan_for(program: Path, verdict: Verdict) -> LaunchPlan:
    rules = {rule.name: rule for rule in CONDITIONAL}
    for name in (*PLAIN.split(), *verdict.with_any):
        rules[name] = SyscallRule(X86_64.numbers[name], name)
    allowed = tuple(rule for name, rule in sorted(rules.items()) if name not in verdict.without)
    digest = hashlib.sha256(program.read_bytes())
    one = AnalysedObject(str(program), digest.hexdigest(), "")
    profile = Profile("x86_64", (one,), (Phase("startup", None, allowed),), (), (), (), "test")
    landlock = Landlock(scopes=2) if verdict.signals else None
    if verdict.files:
        confinement = Confinement(read=("/etc/hosts",), write=("/dev/null",))
        landlock = landlock_for(confinement, profile, str(program), os.path.exists)
    return LaunchPlan(
        program=os.fsencode(program),
        digest=digest.digest(),
        filter=compile_filter(allowed, X86_64, USER_NOTIF).encode(),
        argv=(os.fsencode(program),),
        landlock=landlock,
        flags=verdict.flags,
    )


def check(face: Face, program: Path, verdict: Verdict) -> None:
    outcome = face.launch(encode(plan_for(program, verdict)))
    assert "breached" not in outcome.output
    assert outcome.exit_code in verdict.exit_codes
    assert outcome.output == verdict.output
    seen = tuple(event["syscall"] for event in outcome.events)
    if outcome.exit_code != 139:  # a page or an ABI that this kernel does not have at all
        assert seen == tuple(verdict.refused)


def test_every_attack_has_a_verdict() -> None:
    assert {path.stem for path in HOSTILE.glob("*.c")} == VERDICTS.keys()
    assert len(VERDICTS) >= 40


@pytest.mark.parametrize("name", VERDICTS)
def test_attack(
    launcher: Face, build: Build, name: str, record_property: Callable[[str, object], None]
) -> None:
    check(launcher, build(name), VERDICTS[name])
    comment = (HOSTILE / f"{name}.c").read_text().splitlines()[0].strip("/* ")
    record_property("attack", f"{name:22} {VERDICTS[name]!s:28} {comment}")


@pytest.mark.parametrize("name", OTHERWISE)
def test_attack_with_a_profile_that_has_its_call(launcher: Face, build: Build, name: str) -> None:
    check(launcher, build(name), OTHERWISE[name])


# Without a launcher these succeed for a process of root: the verdicts above are the launcher's doing.
SUCCEED = (
    "unshare_user",
    "kill_launcher",
    "writable_code",
    "code_of_data",
    "exec_path",
    "open_by_proc",
    "own_memory",
)


@pytest.mark.parametrize("name", SUCCEED)
def test_an_attack_succeeds_where_nobody_confines_it(build: Build, name: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{build(name)}; :"],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.stdout == "breached\n" or done.returncode == -9 or (name == "exec_path" and done.stdout == "")
