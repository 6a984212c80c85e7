"""
Which policy explains every key of a kind of evidence?

The examples are part of the package: `shim policy init` fills one in, and the schema takes its descriptions
from their comments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

from attestation.policy_file import locate

_COMMENT = re.compile(r"\s#\s*(.*)$")


def text(tee: str) -> str:
    """
    Return the example for a kind of evidence, TOML.

    Raises:
        FileNotFoundError: there is none; every kind of `attestation.kinds` has one.
    """
    return files("attestation").joinpath(f"examples/policy-{tee}.toml").read_text(encoding="utf-8")


def comments(policy: str) -> Mapping[str, str]:
    """Return what stands behind each key of a policy's text, by dotted name; where nothing does, nothing."""
    lines = policy.splitlines()
    found = {key: _COMMENT.search(lines[line - 1]) for key, line in locate(policy).items()}
    return {key: match[1] for key, match in found.items() if match}
