"""
What may a program ask of the kernel, as a value, as JSON and in the formats of others?

`shim.profile.profile` has the types; `dumps` and `loads` are the JSON; `rules_from` is what the filter of a
phase allows; `export` has one module for each foreign format.
"""

from __future__ import annotations

from shim.profile.codec import dumps, loads
from shim.profile.phases import rules_from
from shim.profile.problems import ProfileFormatError

__all__ = ["ProfileFormatError", "dumps", "loads", "rules_from"]
