"""Does the relying party keep to its OpenAPI description?  Asked by schemathesis; the tests do it shortly, `make load` at length."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PHASES = ("--phases", "examples,coverage,fuzzing")
# Methods are refused by the framework, which says what is allowed in its own way; tokens are secrets of one session.
LEFT_OUT = ("--exclude-checks", "unsupported_method,ignored_auth")

# A body that is too large is refused as well, whatever else is wrong with it.
CONFIGURATION = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413, 415, 429]
"""


@dataclass(frozen=True)
class Outcome:
    """How many requests there were, how many answers were as described, and everything that was said."""

    cases: int
    passed: int
    code: int
    said: str


def ask(url: str, folder: Path, *, examples: int, seed: int = 1, token: str | None = None) -> Outcome:
    """Ask a running service everything that its description allows, and what it does not."""
    program = Path(sys.executable).parent / "schemathesis"
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    options = ["--max-examples", str(examples), "--seed", str(seed), *PHASES, *LEFT_OUT, "--no-color"]
    options += [] if token is None else ["-H", f"Authorization: Bearer {token}"]
    ran = subprocess.run(
        [program, "run", f"{url}/v1/openapi.json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"(\d+) generated, (\d+) passed", ran.stdout)
    generated, passed = (int(found[1]), int(found[2])) if found else (0, 0)
    return Outcome(generated, passed, ran.returncode, ran.stdout[-6000:])
