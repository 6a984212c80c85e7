"""
How does Kubernetes enforce a profile?

A `SeccompProfile` of the Security Profiles Operator, which installs it on every node.  The spec holds what
the OCI format holds, so everything `oci` says about phases and conditions is true here too; the container
runtime's own calls are always included.  What differs:

- there is no `defaultErrnoRet`: numbers that the profile's kernel does not know get EPERM from crun.  runc
  adds ENOSYS by itself for numbers above the highest that the profile names (1.0.0-rc95 and later), which is
  why every known call is named;
- values of arguments are signed 64-bit integers, so those from 2**63 on are an error.

Source: kubernetes-sigs/security-profiles-operator, api/seccompprofile/v1beta1/seccompprofile_types.go; the
served version v1 takes the same document, cluster-scoped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from shim.errors import ProfileError
from shim.profile.export.comments import header_lines
from shim.profile.export.oci import ARCHITECTURES, entries
from shim.profile.profile import Profile

API_VERSION = "security-profiles-operator.x-k8s.io/v1beta1"
_LONGEST_NAME = 63
_LARGEST_VALUE = 2**63 - 1


def spo(profile: Profile, *, name: str | None = None) -> str:
    """
    Return the custom resource as YAML; equal profiles give equal text.

    Args:
        profile: The profile.
        name: The path to name the resource by, the program's if None.

    Raises:
        ProfileError: conditions that the format cannot say.

    Not checked:
        That the profile is complete: ask `profile.complete` first.
    """
    lines = [f"# {line}" for line in header_lines(profile)]
    lines += [
        f"apiVersion: {API_VERSION}",
        "kind: SeccompProfile",
        "metadata:",
        f"  name: {json.dumps(resource_name(profile.program.path if name is None else name))}",
        "  annotations:",
        f"    tee-shim/program-sha256: {json.dumps(profile.program.sha256)}",
        "spec:",
        "  defaultAction: SCMP_ACT_ERRNO",
        "  architectures:",
        f"  - {ARCHITECTURES[profile.arch]}",
        "  syscalls:",
    ]
    for entry in entries(profile, refused="kill", runtime_calls=True):
        lines += _entry(entry)
    return "\n".join(lines) + "\n"


def resource_name(path: str) -> str:
    """Return a name for the resource: the program's file name as far as Kubernetes allows its letters."""
    name = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(path).name.lower())[:_LONGEST_NAME].strip("-")
    return name or "program"


def _entry(entry: dict[str, Any]) -> Iterator[str]:
    yield f"  - action: {entry['action']}"
    yield "    names:"
    for name in entry["names"]:
        yield f"    - {name}"
    if "args" in entry:
        yield "    args:"
    for argument in entry.get("args", []):
        if max(argument["value"], argument.get("valueTwo", 0)) > _LARGEST_VALUE:
            raise ProfileError(
                f"conditions of {entry['names'][0]}",
                f"the value {argument['value']:#x}",
                "below 2**63, for this format",
                "api/seccompprofile/v1, Arg: int64",
            )
        yield f"    - index: {argument['index']}"
        yield f"      op: {argument['op']}"
        yield f"      value: {argument['value']}"
        if "valueTwo" in argument:
            yield f"      valueTwo: {argument['valueTwo']}"
