"""
In which formats of others can a profile be written?

One module for each format; `FORMATS` is what the command line offers, besides those that need a compiled
filter (`shim.cli.formats`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shim.profile.export.html import html
from shim.profile.export.libseccomp import libseccomp
from shim.profile.export.names import names
from shim.profile.export.oci import oci
from shim.profile.export.spo import spo
from shim.profile.export.systemd import systemd
from shim.profile.profile import Profile


@dataclass(frozen=True, slots=True)
class Format:
    """One export format: what it is for, in one line, and what writes it."""

    summary: str
    write: Callable[[Profile], str]


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "names": Format("syscall names, one a line", names),
        "oci": Format("seccomp JSON of the OCI runtime: runc, crun, containerd", oci),
        "docker": Format(
            "the same with the container runtime's own calls: docker and podman --security-opt seccomp=",
            lambda profile: oci(profile, runtime_calls=True),
        ),
        "spo": Format("SeccompProfile of the Kubernetes Security Profiles Operator", spo),
        "systemd": Format("drop-in for a systemd service", systemd),
        "libseccomp": Format("C source that builds the filter with libseccomp", libseccomp),
        "html": Format("one page to look at, without scripts and without network", html),
    }
)
