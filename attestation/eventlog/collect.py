"""Where does the kernel keep the log of what the firmware measured?"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from attestation.errors import CollectError
from attestation.eventlog import MAXIMUM_SIZE
from attestation.guest import Guest, explained

# Documentation/ABI/testing/sysfs-firmware-acpi; drivers/char/tpm/eventlog/common.c; v6.12.
CCEL = "sys/firmware/acpi/tables/data/CCEL"
TPM_LOG = "sys/kernel/security/tpm0/binary_bios_measurements"
_PLACES: Mapping[str, str] = {
    "tdx": CCEL,
    "cca": CCEL,
    "azure-snp": TPM_LOG,
    "azure-tdx": TPM_LOG,
    "tpm": TPM_LOG,
}
_MEANINGS: Mapping[int, str] = {
    errno.ENOENT: "the firmware left no log, or its file system is not mounted",
    errno.EACCES: "only root may read it",
    errno.EFBIG: f"more than {MAXIMUM_SIZE} bytes",
}


def has_log(kind: str) -> bool:
    """Return whether a log can explain registers of evidence of `kind`."""
    return kind in _PLACES


def event_log(guest: Guest, kind: str) -> bytes:
    """
    Return the log that explains the registers of evidence of `kind`, with what fills up its table.

    Raises:
        CollectError: this kind has none, or it cannot be read.

    Not checked:
        That it is one, and that it leads to the registers: `attestation.eventlog` does.
    """
    place = _PLACES.get(kind)
    if place is None:
        raise CollectError("event log", f"evidence of {kind}", f"one of {', '.join(_PLACES)}", "")
    with explained(f"/{place}", _MEANINGS, ""):
        found = guest.read(place, MAXIMUM_SIZE)
    if not found:
        raise CollectError(f"/{place}", "0 bytes", "an event log", "")
    return found
