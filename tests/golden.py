"""`make golden`: write the golden files anew from the code; look at the difference before committing it."""

from __future__ import annotations

import json
from pathlib import Path

from attestation import policy_schema
from shim.analysis.derive import derive
from shim.profile.schema import SCHEMA
from tests import kinds_document

ROOT = Path(__file__).resolve().parents[1]
LAUNCHER_CALLS = ROOT / "native" / "shim-launch.syscalls"


def main() -> None:
    """Write every golden file."""
    (ROOT / "docs" / "profile.schema.json").write_text(json.dumps(SCHEMA, indent=2) + "\n")
    (ROOT / "docs" / "policy.schema.json").write_text(json.dumps(policy_schema.schema(), indent=2) + "\n")
    (ROOT / "docs" / "kinds.md").write_text(kinds_document.text())
    LAUNCHER_CALLS.write_text(launcher_calls())


def launcher_calls() -> str:
    """Return what the static launcher may ask of the kernel by its own profile, one name in a line."""
    launcher = ROOT / "shim" / "launch" / "shim-launch"
    profile = derive(launcher.read_bytes(), str(launcher))
    if not profile.complete:
        raise SystemExit(f"{launcher}: the profile is incomplete")
    return "".join(f"{rule.name}\n" for rule in profile.phases[0].rules)


if __name__ == "__main__":
    main()
