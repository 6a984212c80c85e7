"""
To which values of registers does a log lead, and are they those that were signed?

A register that a log says nothing about is explained by it only while it has its initial value: else an empty
log would explain everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from attestation.errors import NotAuthenticError
from attestation.eventlog.log import NO_ACTION, SOURCE, EventLog

# Those that only a dynamic launch resets start with all bits set (TCG PC Client Platform TPM Profile, 4.6.2).
_DYNAMIC = range(17, 23)


def replay(log: EventLog, algorithm: str) -> dict[int, bytes]:
    """
    Return the values of all registers into which something was extended, by number.

    Args:
        log: From `attestation.eventlog.log.parse`.
        algorithm: Of the bank of registers: "sha1", "sha256", "sha384" or "sha512".
    """
    size = hashlib.new(algorithm).digest_size
    registers: dict[int, bytes] = {}
    for event in log.events:
        digest = event.digests.get(algorithm)
        if event.kind == NO_ACTION or digest is None:
            continue
        value = registers.get(event.register)
        if value is None:
            value = _initial(event.register, size, log.startup_locality)
        registers[event.register] = hashlib.new(algorithm, value + digest).digest()
    return registers


@dataclass(frozen=True, slots=True)
class Registers:
    """
    Signed values that a log may explain.

    Attributes:
        algorithm: Of the bank of registers.
        values: By the numbers that the log uses.
        names: What messages call them.
        required: The numbers of those that a log of the firmware must explain; the running system extends
            others.
        dynamic: Whether registers 17 to 22 are those of a TPM, which start with all bits set.
    """

    algorithm: str
    values: Mapping[int, bytes]
    names: Mapping[int, str]
    required: frozenset[int]
    dynamic: bool = True


def unexplained(log: EventLog, registers: Registers) -> dict[int, bytes]:
    """Return the signed registers that a log does not explain, with the values that it leads to."""
    size = hashlib.new(registers.algorithm).digest_size
    led_to = replay(log, registers.algorithm)
    found = {}
    for number, value in registers.values.items():
        initial = b"\xff" * size if registers.dynamic and number in _DYNAMIC else bytes(size)
        explained = led_to.get(number, initial)
        if explained != value:
            found[number] = explained
    return found


def check(log: EventLog, registers: Registers) -> None:
    """
    Check that a log explains what it must.

    Raises:
        NotAuthenticError: the log has no digests of the algorithm, or leads to another value.
    """
    if registers.algorithm not in log.algorithms:
        found = ", ".join(log.algorithms)
        raise NotAuthenticError("event log.algorithms", found, registers.algorithm, SOURCE)
    for number, led_to in sorted(unexplained(log, registers).items()):
        if number in registers.required or log.whole:
            want = f"{registers.values[number].hex()}, as signed"
            raise NotAuthenticError(f"event log.{registers.names[number]}", led_to.hex(), want, SOURCE)


def _initial(register: int, size: int, locality: int) -> bytes:
    if register in _DYNAMIC:
        return b"\xff" * size
    return bytes(size - 1) + bytes([locality if register == 0 else 0])
