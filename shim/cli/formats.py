"""
In which formats can `shim profile` write, and as which bytes?

Text formats come from `shim.profile.export`; raw BPF is made here, because only the command line may import
the filter compiler and the profile's exports together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from shim.profile.export import FORMATS
from shim.profile.export.rules import exported_rules
from shim.profile.profile import Profile
from shim.syscalls import table


def bpf(profile: Profile, also: tuple[str, ...] = ()) -> bytes:
    """
    Return the filter of the whole program as an array of `struct sock_filter`, little endian.

    Args:
        profile: The profile; all its phases count.
        also: Names of further calls, for whoever installs the filter.  Bubblewrap's --seccomp installs it
            right before it executes the program, so it needs `execve`.

    Raises:
        FilterError: the filter has more instructions than the kernel takes.

    Not checked:
        That the profile is complete: ask `profile.complete` first.
    """
    from shim.filter import compile_filter  # the other formats have no use for it

    return compile_filter(exported_rules(profile, also), table(profile.arch)).encode()


BINARY: Mapping[str, Callable[[Profile], bytes]] = MappingProxyType(
    {"bpf": bpf, "bwrap": lambda profile: bpf(profile, ("execve",))}
)
"""Formats that are no text and do not belong on a terminal."""


def write(profile: Profile, form: str) -> bytes:
    """
    Return `profile` in the named format.

    Raises:
        ProfileError: something that the format cannot say.
        FilterError: the filter has more instructions than the kernel takes.
    """
    return BINARY[form](profile) if form in BINARY else FORMATS[form].write(profile).encode()
