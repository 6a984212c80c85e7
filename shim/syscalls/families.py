"""
Which calls belong together, because a libc falls back from one to the other or the kernel issues one itself?

An analysis may prune the branch that a fallback sits in, and an older kernel, or an outer filter that answers
ENOSYS, takes exactly that branch.  Only fallbacks that a libc's source has are listed, each with the one call
that replaces the newer; what the fallback path calls besides, the analysis finds as code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# SYSCALL_DEFINE0 in kernel/sys.c, kernel/fork.c, kernel/sched/syscalls.c, kernel/signal.c, fs/open.c,
# fs/sync.c, mm/mlock.c and fs/notify/inotify/inotify_user.c, v6.12: what is in the registers of arguments is
# nothing to them.
WITHOUT_ARGUMENTS = frozenset(
    {
        "fork", "getegid", "geteuid", "getgid", "getpgrp", "getpid", "getppid", "gettid", "getuid",
        "inotify_init", "munlockall", "pause", "restart_syscall", "sched_yield", "setsid", "sync", "vfork",
        "vhangup",
    }
)  # fmt: skip
KernelVersion = tuple[int, int]
ANY_KERNEL: KernelVersion = (0, 0)
LIBCS = ("glibc", "musl")


@dataclass(frozen=True, slots=True)
class Fallback:
    """
    A call and the one that a libc tries when the kernel answers ENOSYS to it.

    `since` is the first kernel that has `newer`: on that kernel and later ones only a filter takes the
    fallback. `sources` maps the libc to its file and the version from which it is so.
    """

    newer: str
    older: str
    since: KernelVersion
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Implied:
    """
    A call that the kernel issues in a program's name, or that every program must be able to issue.

    `by` are the calls without which it cannot happen; None if nothing is needed.
    """

    name: str
    reason: str
    source: str
    by: frozenset[str] | None = None


# Without a handler there is nothing to return from; only what leaves a restart block behind is restarted.
IMPLIED = (
    Implied(
        "rt_sigreturn",
        "the kernel makes every signal handler return through it",
        "arch/x86/kernel/signal_64.c, x64_setup_rt_frame, v6.12",
        frozenset({"rt_sigaction"}),
    ),
    Implied(
        "restart_syscall",
        "the kernel itself resumes an interrupted sleep or poll with it",
        "include/linux/thread_info.h, set_restart_fn, and its callers in kernel/time/, kernel/futex/ and "
        "fs/select.c, v6.12",
        frozenset({"nanosleep", "clock_nanosleep", "futex", "poll"}),
    ),
    Implied(
        "exit_group",
        "a program that may not end itself can only be killed",
        "kernel/exit.c, v6.12",
    ),
)

FALLBACKS = (
    Fallback(
        "clone3",
        "clone",
        (5, 3),
        (("glibc", "sysdeps/unix/sysv/linux/clone-internal.c, 2.34"),),
    ),
    Fallback(
        "faccessat2",
        "faccessat",
        (5, 8),
        (
            ("glibc", "sysdeps/unix/sysv/linux/faccessat.c, 2.33"),
            ("musl", "src/unistd/faccessat.c, 1.2.2"),
        ),
    ),
    Fallback(
        "fchmodat2",
        "fchmodat",
        (6, 6),
        (("musl", "src/stat/fchmodat.c, 1.2.5"),),
    ),
    Fallback(
        "statx",
        "newfstatat",
        (4, 11),
        (
            ("glibc", "sysdeps/unix/sysv/linux/statx.c, 2.28"),
            ("musl", "src/linux/statx.c, 1.1.24"),
        ),
    ),
    Fallback(
        "preadv2",
        "preadv",
        (4, 6),
        (("glibc", "sysdeps/unix/sysv/linux/preadv64v2.c, 2.26"),),
    ),
    Fallback(
        "pwritev2",
        "pwritev",
        (4, 6),
        (("glibc", "sysdeps/unix/sysv/linux/pwritev64v2.c, 2.26"),),
    ),
    Fallback(
        "close_range",
        "close",
        (5, 9),
        (("glibc", "sysdeps/unix/sysv/linux/closefrom_fallback.c, 2.34"),),
    ),
    Fallback(
        "execveat",
        "execve",
        (3, 19),
        (("glibc", "sysdeps/unix/sysv/linux/fexecve.c, 2.27"),),
    ),
    Fallback(
        "epoll_create1",
        "epoll_create",
        (2, 6),
        (("musl", "src/linux/epoll.c"),),
    ),
    Fallback(
        "epoll_pwait",
        "epoll_wait",
        (2, 6),
        (("musl", "src/linux/epoll.c"),),
    ),
    Fallback(
        "pipe2",
        "pipe",
        (2, 6),
        (("musl", "src/unistd/pipe2.c"),),
    ),
    Fallback(
        "dup3",
        "dup2",
        (2, 6),
        (("musl", "src/unistd/dup3.c"),),
    ),
    Fallback(
        "utimensat",
        "futimesat",
        (2, 6),
        (("musl", "src/stat/utimensat.c"),),
    ),
)


def with_fallbacks(
    names: Iterable[str],
    libcs: Iterable[str] = LIBCS,
    oldest_kernel: KernelVersion = ANY_KERNEL,
) -> dict[str, Fallback]:
    """
    Return the calls that `names` bring along and lack, each with the fallback that brings it.

    Args:
        names: The calls a program is known to make.
        libcs: The libcs it may contain.
        oldest_kernel: The oldest kernel it shall run on.  With a version given, fallbacks from calls which
            that kernel has are left out: then no outer filter may answer ENOSYS to them, as some container
            profiles do to clone3 (moby#42680).
    """
    present = set(names)
    wanted = set(libcs)
    brought: dict[str, Fallback] = {}
    for fallback in FALLBACKS:
        in_libc = any(libc in wanted for libc, _ in fallback.sources)
        missing = oldest_kernel < fallback.since or oldest_kernel == ANY_KERNEL
        if fallback.newer in present and fallback.older not in present and in_libc and missing:
            brought[fallback.older] = fallback
    return brought
