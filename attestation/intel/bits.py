"""
What do the single bits of a quote mean?

A bit without a name here is reserved: it is shown and appraised under the name `reserved`, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

# Intel TDX Module Base Architecture Specification, 348549-004, table "TD Attributes".
TD_ATTRIBUTES: Mapping[str, int] = {
    "debug": 0,
    "lass": 27,
    "sept_ve_disable": 28,
    "migratable": 29,
    "pks": 30,
    "key_locker": 31,
    "perfmon": 63,
}

# Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 3D, section 36.7.1, "ATTRIBUTES"; only
# the flags, which are the first 8 bytes.
ENCLAVE_ATTRIBUTES: Mapping[str, int] = {
    "init": 0,
    "debug": 1,
    "mode64bit": 2,
    "provision_key": 4,
    "einittoken_key": 5,
    "cet": 6,
    "kss": 7,
    "aex_notify": 10,
}

# What a PCK certificate says of its platform, by the names of `PckExtensions.flags`.
PLATFORM = ("dynamic_platform", "cached_keys", "smt")
