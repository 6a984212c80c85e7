"""`make golden`: write the golden files anew from the code; look at the difference before committing it."""

from __future__ import annotations

import json
from pathlib import Path

from shim.profile.schema import SCHEMA

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write every golden file."""
    (ROOT / "docs" / "profile.schema.json").write_text(json.dumps(SCHEMA, indent=2) + "\n")


if __name__ == "__main__":
    main()
