"""Images under a container runtime: a bundle of a root directory, and the runtime that runs it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.shim.conftest import need

CRUN_INSIDE = Path(__file__).parent / "profile" / "consumers" / "crun_inside.sh"
KINDS = ("pid", "mount", "ipc", "uts")


def write_config(bundle: Path, arguments: tuple[str, ...], seccomp: dict[str, Any] | None) -> None:
    """Write what a runtime runs in the root directory `rootfs` of a bundle, under a filter if there is one."""
    linux: dict[str, Any] = {"namespaces": [{"type": kind} for kind in KINDS]}
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "args": list(arguments),
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": linux if seccomp is None else {**linux, "seccomp": seccomp},
    }
    (bundle / "config.json").write_text(json.dumps(config))


def command_of(runtime: str, bundle: Path, name: str) -> list[str]:
    """Return the command that runs a bundle."""
    if runtime == "crun":
        return ["unshare", "--mount", "--cgroup", "sh", str(CRUN_INSIDE), str(bundle), name]
    return [runtime, "--root", str(bundle / "state"), "run", "--bundle", str(bundle), name]


def contained(
    runtime: str, bundle: Path, arguments: tuple[str, ...], seccomp: dict[str, Any] | None
) -> subprocess.CompletedProcess[str]:
    """Run a bundle to its end; skip where this runtime runs nothing even without a filter."""
    need(runtime)
    need("unshare")
    if os.geteuid() != 0:
        pytest.skip(f"{runtime} takes root here")
    write_config(bundle, arguments, seccomp)
    done = subprocess.run(
        command_of(runtime, bundle, f"shim-test-{os.getpid()}"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if seccomp is None and not done.stderr.startswith("shim:") and "failed" in done.stderr:
        pytest.skip(f"{runtime} runs no container here: {done.stderr.strip()[-200:]}")
    return done
