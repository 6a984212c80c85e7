"""
Execute one program in a root directory of its own, which is in memory and which no other process sees.

The mount namespace and what is in it end with the last process inside.  What the program may do there is not
decided here: the program is the launcher, which has a plan.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from shim.errors import LaunchError, ShimError

# include/uapi/linux/sched.h, mount.h and prctl.h, v6.12
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_MNT_DETACH, _PR_SET_PDEATHSIG = 2, 1
_OF_TERMINALS, _PASSED_ON = (signal.SIGINT, signal.SIGQUIT), (signal.SIGTERM, signal.SIGHUP)
# Numbers of pivot_root, which libc does not wrap: arch/x86/entry/syscalls/syscall_64.tbl and
# include/uapi/asm-generic/unistd.h, v6.12.
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def run_rooted(
    fill: Callable[[Path], None], arguments: Sequence[str], user: tuple[int, int] | None = None
) -> int:
    """
    Execute a program in a new root directory and return how it ended, as a shell sees it.

    Args:
        fill: Writes the files of the root directory below the path that it is given, in the new process.
        arguments: The program, by its absolute path in the new root, and what follows it; its environment is
            empty.
        user: The user and the only group that it runs as, which takes root; None for those of the caller.

    Raises:
        LaunchError: it did not run: the step that failed, and the exit code 125, 126 or 127.

    Source:
        user_namespaces(7), mount_namespaces(7), pivot_root(2).
    """
    with tempfile.TemporaryDirectory(prefix="shim-") as place:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        # Blocked until they can be passed on: one that came before would end this process alone.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        child = os.fork()
        if child == 0:
            os.close(reading)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            _be_the_child(Path(place), fill, arguments, user, parent, writing)
        with _passing_on(child, mask):
            os.close(writing)
            with os.fdopen(reading, "rb") as file:
                failed = file.read().decode(errors="replace")
            status = os.waitpid(child, 0)[1]
    if failed:
        step, code, reason = failed.split("\0")
        raise LaunchError(step, reason, int(code))
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


@contextmanager
def _passing_on(child: int, mask: set[int | signal.Signals]) -> Iterator[None]:
    """Signals of the terminal reach the child by themselves, others are passed on; `mask` is to block."""

    def pass_on(number: int, _: object) -> None:
        os.kill(child, number)

    before = {number: signal.signal(number, signal.SIG_IGN) for number in _OF_TERMINALS}
    before |= {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _be_the_child(  # what the parent knows
    place: Path,
    fill: Callable[[Path], None],
    arguments: Sequence[str],
    user: tuple[int, int] | None,
    parent: int,
    writing: int,
) -> NoReturn:
    """Make the root directory and execute the program in it; what fails goes to the parent."""
    step = "unshare"
    code = 125
    try:
        _own_namespaces()
        step = "mount"
        _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
        step = "unpack"
        fill(place)
        step = "mount"
        if (place / "proc").is_dir():
            _mount("/proc", place / "proc", "", _MS_BIND | _MS_REC)
        step = "pivot_root"
        _pivot(place)
        step = "user"
        _become(user)
        step = "parent"
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, which is inherited
            signal.signal(number, signal.SIG_DFL)
        _die_with(parent)
        step, code = arguments[0], 126
        os.execve(arguments[0], list(arguments), {})  # noqa: S606  # the launcher of a verified image
    except (OSError, ShimError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, FileNotFoundError) and code == 126:
            code = 127
        os.write(writing, f"{step}\0{code}\0{reason}".encode(errors="replace")[:4096])
    finally:
        os._exit(125)


def _own_namespaces() -> None:
    """Leave the mounts of others; who is not root becomes so for the mounts alone, under the same number."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWNS | (_CLONE_NEWUSER if uid else 0))
    if uid:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            Path(f"/proc/self/{name}").write_text(text)
    _mount("none", Path("/"), "", _MS_REC | _MS_PRIVATE)


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    texts = (source.encode(), os.fsencode(target), kind.encode())
    _call("mount", *texts, ctypes.c_ulong(flags), options.encode())


def _pivot(place: Path) -> None:
    """Make `place` the root and let go of the old one: pivot_root(2), "pivot_root(".", ".")"."""
    os.chdir(place)
    _call("syscall", ctypes.c_long(_PIVOT_ROOT[platform.machine()]), b".", b".")
    _call("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def _become(user: tuple[int, int] | None) -> None:
    """Drop privileges for good, before the tie to the parent, which that would cut: prctl(2)."""
    if user is not None and user != (os.geteuid(), os.getegid()):
        uid, gid = user
        os.setgroups(())
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def _die_with(parent: int) -> None:
    """The parent may be gone before it is asked for: prctl(2), PR_SET_PDEATHSIG."""
    _call("prctl", _PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        raise ProcessLookupError(0, "the shim is gone")


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
