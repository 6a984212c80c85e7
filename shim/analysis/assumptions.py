"""
What may be taken for granted where the code alone does not show it?

Off unless a question cannot be answered without; what was used is named in the profile.
"""

from __future__ import annotations

from dataclasses import dataclass

SEPARATE_VARIABLES = (
    "separate-variables: in a stripped file, a variable that code reads and writes by its own address is not "
    "also reached through the address of something before it"
)


@dataclass(slots=True)
class Assumptions:
    """The assumptions in force while one question is asked."""

    separate_variables: bool = False
