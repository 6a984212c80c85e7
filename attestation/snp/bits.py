"""
What do the single bits of a report mean?

Names follow AMD publication 56860, revision 1.58, in lower case.  A bit without a name here is reserved: it
is shown and appraised under the name `reserved`, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

from attestation.bits import flags, reserved

__all__ = ["flags", "reserved_guest_policy", "reserved_platform_info"]

# Section 4.3, "Guest Policy".  Bits 7:0 and 15:8 are the minor and major ABI version, bit 17 is always one.
GUEST_POLICY: Mapping[str, int] = {
    "smt": 16,
    "migrate_ma": 18,
    "debug": 19,
    "single_socket": 20,
    "cxl_allow": 21,
    "mem_aes_256_xts": 22,
    "rapl_dis": 23,
    "ciphertext_hiding": 24,
    "page_swap_disable": 25,
}
GUEST_POLICY_ABI_MASK = 0xFFFF
GUEST_POLICY_ALWAYS_ONE = 1 << 17

# Section 7.3, "Attestation", structure of PLATFORM_INFO.  Bit 6 is reserved in the published text; Turin
# machines set it; it is IOMMU_WRITE_SAFE.
PLATFORM_INFO: Mapping[str, int] = {
    "smt_en": 0,
    "tsme_en": 1,
    "ecc_en": 2,
    "rapl_dis": 3,
    "ciphertext_hiding_en": 4,
    "alias_check_complete": 5,
    "iommu_write_safe": 6,
    "tio_en": 7,
}


def reserved_guest_policy(value: int) -> int:
    """Return the bits of a guest policy that have no known meaning, in their places."""
    return reserved(value, GUEST_POLICY, GUEST_POLICY_ABI_MASK | GUEST_POLICY_ALWAYS_ONE)


def reserved_platform_info(value: int) -> int:
    """Return the bits of PLATFORM_INFO that have no known meaning, in their places."""
    return reserved(value, PLATFORM_INFO)
