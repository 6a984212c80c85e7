"""How does the secure processor measure the pages of an SEV-SNP guest, one after the other?"""

from __future__ import annotations

import struct
from hashlib import sha384

from images.measure.firmware import PAGE

ZEROS = bytes(48)
VMSA_GPA = 0xFFFF_FFFF_F000  # all save areas count as being there
_NORMAL, _VMSA, _ZERO, _UNMEASURED, _SECRETS, _CPUID = range(1, 7)
# Behind two digests: size of all, page type, IMI page, permissions of three VMPLs, reserved, address.
_INFO = struct.Struct("<HBBBBBBQ")
_INFO_SIZE = 0x70


class LaunchDigest:
    """
    The launch digest as it stands after the pages that were added.

    Args:
        digest: Where to go on, 48 bytes; zeros for a launch that has just started.

    Source:
        AMD publication 56860, revision 1.58, section 8.17, "SNP_LAUNCH_UPDATE", structure of PAGE_INFO.
    """

    def __init__(self, digest: bytes = ZEROS) -> None:
        self.digest = digest

    def add_normal(self, gpa: int, data: bytes) -> None:
        """Add pages with contents."""
        view = memoryview(data)
        digest = self.digest
        for offset in range(0, len(view), PAGE):
            contents = sha384(view[offset : offset + PAGE]).digest()
            info = _INFO.pack(_INFO_SIZE, _NORMAL, 0, 0, 0, 0, 0, gpa + offset)
            digest = sha384(digest + contents + info).digest()
        self.digest = digest

    def add_vmsa(self, page: bytes) -> None:
        """Add the save area of a processor."""
        self._add(_VMSA, VMSA_GPA, sha384(page).digest())

    def add_zero(self, gpa: int, size: int) -> None:
        """Add pages that are zero."""
        self._add_all(_ZERO, gpa, size)

    def add_unmeasured(self, gpa: int, size: int) -> None:
        """Add pages of which only the address counts."""
        self._add_all(_UNMEASURED, gpa, size)

    def add_secrets(self, gpa: int) -> None:
        """Add the page into which the secure processor puts keys."""
        self._add(_SECRETS, gpa, ZEROS)

    def add_cpuid(self, gpa: int) -> None:
        """Add the page with what CPUID will say; what it says is checked, and not measured."""
        self._add(_CPUID, gpa, ZEROS)

    def _add_all(self, kind: int, gpa: int, size: int) -> None:
        for offset in range(0, size, PAGE):
            self._add(kind, gpa + offset, ZEROS)

    def _add(self, kind: int, gpa: int, contents: bytes) -> None:
        info = _INFO.pack(_INFO_SIZE, kind, 0, 0, 0, 0, 0, gpa)
        self.digest = sha384(self.digest + contents + info).digest()
