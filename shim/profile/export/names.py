"""
Which calls may the program make, one name a line?

For people, `diff` and shell scripts.  Conditions are lost: a call that is allowed with certain arguments only
is listed like the others.
"""

from __future__ import annotations

from shim.profile.phases import rules_from
from shim.profile.profile import Profile


def names(profile: Profile) -> str:
    """Return the names of all phases, sorted, each on a line of its own."""
    return "".join(f"{name}\n" for name in sorted(rule.name for rule in rules_from(profile, 0)))
