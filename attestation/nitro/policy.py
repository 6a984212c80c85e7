"""
Which documents of Nitro enclaves are accepted?

One attribute per thing that a document can say.  Every one must be given in the policy, or spelled
"unchecked"; but for register 0: without it nothing says what was booted, so nothing could be affirmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from attestation.policy_file import UNCHECKED, Checked, Section
from attestation.policy_values import (
    ReferenceValue,
    hexadecimal,
    integer,
    nonempty,
    one_of,
    reference_values,
    strings,
)

REGISTERS = (1, 2, 3, 4, 8)
_LONGEST_AGE = 3 * 60 * 60


@dataclass(frozen=True, slots=True)
class NitroPolicy:
    """
    What a document must say; `attestation/examples/policy-nitro.toml` explains each field.

    Attributes:
        pcr0: Measurements of the image.
        pcrs: The other registers that have a meaning.
        module_id: Names of instance and enclave.
        debug: "refused".
        max_age: How old it may be.
    """

    pcr0: tuple[ReferenceValue, ...]
    pcrs: Mapping[int, Checked[frozenset[bytes]]]
    module_id: Checked[frozenset[str]]
    debug: Checked[str]
    max_age: Checked[timedelta]


def read(top: Section) -> NitroPolicy:
    """Return the rules for a document; problems are left in `top`, which the caller closes."""
    document = top.section("document")
    age = document.take("max_age", integer(0, _LONGEST_AGE))
    policy = NitroPolicy(
        pcr0=document.need("pcr0", reference_values(48), ()),
        pcrs={number: document.take(f"pcr{number}", nonempty(hexadecimal(48))) for number in REGISTERS},
        module_id=document.take("module_id", strings),
        debug=document.take("debug", one_of("refused")),
        max_age=UNCHECKED if age is UNCHECKED else timedelta(seconds=age),
    )
    document.close()
    return policy
