"""
Calls that the corpus's workloads never make, made: that a profile has them is then no imprecision.

Each command line is harmless on the machine that measures, runs in a folder of its own, and is recorded.
Then the program runs without arguments while one call after the other fails: what it makes only then are the
paths that no workload takes.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from shim.errors import LaunchError
from shim.launch.record import record
from shim.syscalls import table

_BASH = (
    "ulimit -t 99; umask 77; kill -0 $$; trap : ALRM; exec 9<&0; read -t 0.01 x; times; pwd -P",
    "exec 3<>/dev/udp/127.0.0.1/9; echo x >&3",
    "exec 3<>/dev/tcp/127.0.0.1/9",
    "read -t 1 x < <(sleep 0.01; echo x); [ -r / ] && [ -x /bin ] && [ -w / ]; sleep 1 & kill -KILL $!",
    "cat <<< text; printf %s $RANDOM $EPOCHSECONDS $EPOCHREALTIME $SECONDS; time true; wait",
    "echo one > f; echo two > f; set -o noclobber; echo x >| f; hash -r; getent=~root; HISTFILE=h; history -w",
    "coproc { :; }; wait; TMOUT=1; read x < /dev/null; [ -G / ]; [ -O / ]; exec 5>&1; exec 5>&-",
)
_SHELL = "ash"
_BUSYBOX = (
    ("chroot", "/", "/bin/true"), ("sync",), ("sync", "-f", "."), ("fsync", "f"), ("nice", "-n", "1", "true"),
    ("ionice",), ("ionice", "-c", "3", "true"), ("chrt", "-p", "1"), ("chrt", "-o", "0", "true"),
    ("taskset", "1", "true"), ("setsid", "true"), ("ipcs",), ("id",), ("ln", "f", "g"), ("chmod", "600", "f"),
    ("chown", "-h", "0:0", "f"), ("truncate", "-s", "9", "f"), ("fallocate", "-l", "9", "f"),
    ("dd", "if=/dev/zero", "of=f", "count=1", "conv=fsync"), ("dd", "if=f", "of=g", "conv=fdatasync"),
    ("logger", "x"), ("nc", "-w", "1", "127.0.0.1", "9"), ("nslookup", "localhost", "127.0.0.1"),
    ("ping", "-c", "1", "-W", "1", "127.0.0.1"), ("wget", "-O", "-", "http://127.0.0.1:9/"),
    ("time", "true"), ("date",), ("adjtimex",), ("stat", "-f", "."), ("df", "."), ("pivot_root",), ("uptime",),
    ("setpriv", "--dump"), ("unshare", "-m", "true"), ("timeout", "1", "true"), ("watch", "-n", "1", "-t", "true"),
    ("mkfifo", "p"), ("cmp", "f", "g"), ("sort", "f"), ("tail", "-c", "3", "f"), ("usleep", "9"),
    ("renice", "1", "1"), ("setuidgid", "nobody", "true"), ("softlimit", "-m", "99999999", "true"), ("who",),
    ("flock", "f", "true"), ("install", "-m", "600", "f", "h"), ("shred", "f"), ("blkid",), ("losetup",),
    (_SHELL, "-c", "ulimit -a; umask; times; kill -0 $$; read -t 1 x < /dev/null; trap : USR1; wait; cd /"),
    (_SHELL, "-c", "sleep 1 & kill -CONT $!; wait $!; jobs; exec 3>&1; echo x >&3; [ -r f ] && [ -w f ]"),
    ("vi", "-c", "q", "f"), ("hexdump", "f"), ("tar", "cf", "t", "f"), ("cp", "-a", "f", "k"), ("run-parts", "."),
)  # fmt: skip
_SQLITE = (
    (":memory:", ".system true"), (":memory:", ".shell true"), (":memory:", ".timer on", "select 1;"),
    ("d.db", "pragma journal_mode=wal; create table t(a); insert into t values(1); select * from t;"),
    ("d.db", "pragma journal_mode=truncate; vacuum; pragma wal_checkpoint;", ".backup b.db", ".dump"),
    ("d.db", "pragma temp_store_directory='.'; pragma mmap_size=99999; select * from t order by a;"),
    (":memory:", ".once -e", "select 1;"), (":memory:", ".excel", "select 1;"), (":memory:", ".cd /", ".open e.db"),
    (":memory:", "select writefile('w/x', 'y'), readfile('w/x'); select * from fsdir('.');"),
    ("-interactive", ":memory:", ".quit"), (":memory:", ".read |true"), ("~/x.db", ".databases"),
)  # fmt: skip
_LINES: dict[str, tuple[tuple[str, ...], ...]] = {
    "bash-static": tuple(("-c", script) for script in _BASH),
    "busybox": _BUSYBOX,
    "sqlite3": _SQLITE,
    "nginx": (("-t",), ("-V",), ("-T",), ("-s", "stop"), ("-g", "daemon off; worker_processes 2;", "-t")),
    "redis-server": (
        ("--version",),
        ("--test-memory", "1"),
        ("--check-system",),
        ("--port", "0", "--save", "1 1"),
    ),
    "memcached": (("-V",), ("-h",), ("-u", "nobody", "-l", "127.0.0.1", "-p", "0", "-k", "-v")),
    "haproxy": (("-v",), ("-vv",), ("-c", "-f", "/dev/null"), ("-dM", "-c", "-f", "/dev/null")),
    "lighttpd": (("-v",), ("-V",), ("-tt", "-f", "/dev/null"), ("-p", "-f", "/dev/null")),
}
_SECONDS = 2.0
_FAILING_SECONDS = 0.4
_ERRORS = (errno.ENOSYS, errno.ENOMEM, errno.EACCES, errno.EINTR)
_DEPTH = 3
_NAMES = table("x86_64")
_EXECVE = _NAMES.number("execve")


def made(program: Path) -> dict[str, str]:
    """Return the calls that a program of the corpus was made to make, each with the first run that did."""
    lines = _LINES.get(program.name, ())
    found: dict[str, str] = {}
    for line in lines:
        for name in sorted(_calls(program, line, {}, _SECONDS)):
            found.setdefault(name, " ".join((program.name, *line)))
    for line, errors, depth in (((), _ERRORS, _DEPTH), *((line, _ERRORS[:1], 1) for line in lines)):
        for name, failing in _with_failures(program, line, errors, depth).items():
            answers = " ".join(f"--fail {call}={errno.errorcode[error]}" for call, error in failing.items())
            found.setdefault(name, " ".join(("trace", answers, program.name, *line)))
    return found


def _with_failures(
    program: Path, line: tuple[str, ...], errors: tuple[int, ...], depth: int
) -> dict[str, dict[str, int]]:
    """
    Return the calls that a run makes only once others fail, each with what failed.

    What came up is made to fail in its turn: a fallback has its own fallback. No more than `depth` fail.
    """
    usual = _calls(program, line, {}, _FAILING_SECONDS)
    found: dict[str, dict[str, int]] = {}
    due: list[tuple[str, dict[str, int]]] = [(name, {}) for name in sorted(usual)]
    while due:
        name, before = due.pop(0)
        for error in errors:
            failing = {**before, name: error}
            for new in sorted(_calls(program, line, failing, _FAILING_SECONDS) - usual - set(found)):
                found[new] = failing
                if len(failing) < depth:
                    due.append((new, failing))
    return found


def _calls(program: Path, line: tuple[str, ...], failing: dict[str, int], seconds: float) -> set[str]:
    """Return the names of the calls that a run makes; none if it cannot be started so."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "TERM": "dumb"}
    numbers = {_NAMES.number(name): error for name, error in failing.items()}
    if _EXECVE in numbers:
        return set()
    with tempfile.TemporaryDirectory() as folder, chdir(folder), _in_silence():
        Path("f").write_text("some text\n" * 99)
        try:
            recording = record(
                str(program),
                (program.name, *line),
                environment,
                failing=numbers,
                timeout=seconds,
                grace=0.1,
            )
        except LaunchError:
            return set()
        return {_NAMES.name(call.number) for call in recording.calls if call.number in _NAMES}


@contextmanager
def _in_silence() -> Iterator[None]:
    """Give programs an empty input, and keep what they print."""
    kept = [os.dup(number) for number in range(3)]
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for number in range(3):
            os.dup2(nothing, number)
        yield
    finally:
        for number, own in enumerate(kept):
            os.dup2(own, number)
            os.close(own)
        os.close(nothing)
