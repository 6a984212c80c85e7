"""
What may be taken for granted where the code alone does not show it?

Every narrowing that is no proof has a name; a profile lists what it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Assumption:
    """A named assumption: what it says, and whether it is made unless somebody objects."""

    name: str
    says: str
    default: bool

    def __str__(self) -> str:
        """Return the line that a profile lists."""
        return f"{self.name}: {self.says}"


SEPARATE_VARIABLES = Assumption(
    "separate-variables",
    "in a stripped file, a variable that code reads and writes by its own address is not also reached "
    "through the address of something before it",
    default=True,
)
OPAQUE_MUTEXES = Assumption(
    "opaque-mutexes",
    "only the C library writes into mutexes, so that none protects a priority where nothing calls "
    "pthread_mutexattr_setprotocol",
    default=True,
)
NOT_SECURE = Assumption(
    "not-secure",
    "the program starts with AT_SECURE 0: it gains no privilege by being executed, which no_new_privs makes "
    "sure of",
    default=True,
)
NO_MODULES = Assumption(
    "no-modules",
    "the static program opens no shared object (its C library would open one for a name service or a "
    "character set)",
    default=True,
)
DECLARED_MODULES = Assumption(
    "declared-modules",
    "shared objects that the program opens, and functions that it looks up, under names that it computes are "
    "declared by --modules",
    default=True,
)
NO_TUNABLES = Assumption(
    "no-tunables",
    "GLIBC_TUNABLES is not set, which the launcher makes sure of",
    default=True,
)
STARTED_BY_KERNEL = Assumption(
    "started-by-kernel",
    "the kernel starts the loader for a program that names it: the loader is not itself the program, which "
    "the launcher makes sure of by the program's digest",
    default=True,
)
HEADER_RIGHTS = Assumption(
    "header-rights",
    "the loader and the C library give pages the rights that the program headers of the objects ask for: no "
    "page becomes code that was not mapped as code, unless a header says that the stack is",
    default=True,
)
NO_ABORT = Assumption(
    "no-abort",
    "the program never aborts itself; a failed assertion, a smashed stack or a corrupted heap ends it by a "
    "refused call instead of by a message and SIGABRT",
    default=False,
)
NO_ENGINES = Assumption(
    "no-engines",
    "OpenSSL's configuration loads no engine and no provider from a file that is not declared by --modules",
    default=False,
)
NO_IDN = Assumption(
    "no-idn",
    "the program asks for no internationalised names of hosts (AI_IDN, NI_IDN), for which the C library "
    "would open libidn2; a lookup that does fails with EAI_IDN_ENCODE",
    default=False,
)
NO_USERDB = Assumption(
    "no-userdb",
    "no service listens below /run/systemd/userdb, so that systemd's name service waits for none",
    default=False,
)
C_LOCALE = Assumption(
    "c-locale",
    "LANG, LANGUAGE and LC_... are not set, and the program names no other locale than C, so that the C "
    "library loads no locale, no catalogue of messages and no table of a character set",
    default=False,
)
MAIN_RETURNS = Assumption(
    "main-returns",
    "the main thread does not end before the process: it does not call pthread_exit(), and none cancels it",
    default=False,
)
VDSO_CLOCKS = Assumption(
    "vdso-clocks",
    "the kernel maps its vDSO, and the clock source is one that it reads there without asking the kernel",
    default=False,
)
ASSUMPTIONS = (
    SEPARATE_VARIABLES,
    OPAQUE_MUTEXES,
    NOT_SECURE,
    NO_MODULES,
    DECLARED_MODULES,
    NO_TUNABLES,
    STARTED_BY_KERNEL,
    HEADER_RIGHTS,
    NO_ABORT,
    NO_ENGINES,
    NO_IDN,
    NO_USERDB,
    C_LOCALE,
    MAIN_RETURNS,
    VDSO_CLOCKS,
)
HELD_SIZE = 4
DEFAULT = frozenset(assumption for assumption in ASSUMPTIONS if assumption.default)


@dataclass(slots=True)
class InForce:
    """The assumptions in force while one question is asked."""

    separate_variables: bool = False
    held: Mapping[int, int] = field(default_factory=dict)
    """What variables of `HELD_SIZE` bytes hold, by their addresses, whatever is stored there."""
