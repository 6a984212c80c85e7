"""
Which launch digest do guests of SEV and SEV-ES have, the ancestors of SEV-SNP?

Their secure processor gives no report: what the owner gets is a MAC over this digest (LAUNCH_MEASURE).
"""

from __future__ import annotations

import hashlib

from images.measure import sev_metadata
from images.measure.firmware import Firmware
from images.measure.kernel_hashes import KernelHashes
from images.measure.snp import Launch
from images.measure.vmsa import BOOT_ADDRESS, save_area


def sev_launch_digest(firmware: Firmware, hashes: KernelHashes | None = None) -> bytes:
    """
    Return the launch digest of an SEV guest, 32 bytes.

    Raises:
        KernelHashesError: there are hashes, and the firmware has no place for them.

    Source:
        AMD publication 55766, revision 3.24, section 6.5, "LAUNCH_MEASURE", GCTX.LD.
    """
    return hashlib.sha256(firmware.data + _table(firmware, hashes)).digest()


def sev_es_launch_digest(firmware: Firmware, launch: Launch, hashes: KernelHashes | None = None) -> bytes:
    """
    Return the launch digest of an SEV-ES guest, 32 bytes; `launch.guest_features` mean nothing here.

    Raises:
        FirmwareError: the firmware does not say where processors start.
        KernelHashesError: there are hashes, and the firmware has no place for them.

    Source:
        AMD publication 55766, revision 3.24, section 6.4, "LAUNCH_UPDATE_VMSA".
    """
    digest = hashlib.sha256(firmware.data + _table(firmware, hashes))
    reset = sev_metadata.reset_address(firmware)
    for number in range(launch.vcpus):
        address = reset if number else BOOT_ADDRESS
        digest.update(save_area(launch.vmm, address, launch.cpu_signature, 0))
    return digest.digest()


def _table(firmware: Firmware, hashes: KernelHashes | None) -> bytes:
    if hashes is None:
        return b""
    sev_metadata.hash_table_address(firmware)
    return hashes.table()
