"""
Which of a policy's keys, and which claims, speak of which aspect of a machine?

A table, one row per kind of evidence.  `trustworthiness` makes a vector of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aspects:
    """
    What of one kind of evidence speaks of what.

    Mismatches are told apart by the beginnings of their fields, policy keys by patterns such as
    `tcb.*.reported`.

    Attributes:
        executables: Fields that say what was loaded; a policy of the kind cannot leave all of them unchecked.
        identity: Keys that name single machines: one of them has to be checked before one is recognised.
        hardware: Fields that say which machine with which firmware it is.
        supported: Keys without which nothing says that this firmware is still good.
        configuration: Keys that all have to be checked before a configuration is approved of.
        debug: Where the claims say that the host may look inside.
        status: Where the claims have the vendor's word on the age of the platform.
        states: Where the claims have what issuers say of single certificates.
        encrypted: Whether evidence of the kind proves that memory is encrypted, unless it says `debug`.
    """

    executables: Path = ()
    identity: Path = ()
    hardware: Path = ()
    supported: Path = ()
    configuration: Path = ()
    debug: Path = ()
    status: Path = ()
    states: tuple[Path, ...] = ()
    encrypted: bool = False


_SNP = Aspects(
    executables=("report.measurement",),
    identity=("report.chip_id",),
    hardware=(
        "tcb",
        "firmware",
        "mitigations",
        "report.signer",
        "report.csp_id",
        "report.reported_tcb",
        "report.committed_",
    ),
    supported=("tcb", "tcb.*.reported"),
    configuration=("report.vmpl", "guest_policy.debug", "guest_policy.migrate_ma", "guest_policy.reserved"),
    debug=("report", "guest_policy", "debug"),
    encrypted=True,
)
_TDX = Aspects(
    executables=("report.mr_td", "report.rtmr"),
    identity=("platform.ppid",),
    hardware=("tcb", "platform", "report.mr_seam", "report.mr_signer_seam", "report.seam_attributes"),
    configuration=(
        "report.mr_service_td",
        "td_attributes.debug",
        "td_attributes.migratable",
        "td_attributes.reserved",
    ),
    debug=("report", "debug"),
    status=("tcb", "status"),
    encrypted=True,
)


def _inside_azure(hardware: Aspects) -> Aspects:
    """What the vTPM vouches for is added; what the hardware says stands one level deeper in the claims."""
    return replace(
        hardware,
        executables=("pcrs", *hardware.executables),
        identity=("vm.id", *hardware.identity),
        configuration=("vm.secure_boot", *hardware.configuration),
        debug=("hardware", *hardware.debug),
        status=hardware.status and ("hardware", *hardware.status),
    )


ASPECTS: Mapping[str, Aspects] = {
    "snp": _SNP,
    "simulated": _SNP,
    "tdx": _TDX,
    "sgx": Aspects(
        executables=("report.mr_enclave", "report.mr_signer", "report.isv_"),
        identity=("platform.ppid",),
        hardware=("tcb", "platform"),
        configuration=("attributes.init", "attributes.debug", "attributes.reserved", "report.misc_select"),
        debug=("report", "debug"),
        status=("tcb", "status"),
        encrypted=True,
    ),
    "azure-snp": _inside_azure(_SNP),
    "azure-tdx": _inside_azure(_TDX),
    # A document says nothing of the host's firmware nor of memory: the Nitro system is taken as a whole.
    "nitro": Aspects(
        executables=("document.pcr",),
        identity=("document.module_id",),
        configuration=("document.debug",),
        debug=("document", "debug"),
    ),
    # Firmware is all that a device measures; of what runs on it there is no word.
    "nvidia": Aspects(
        hardware=("measurements", "device"),
        states=(("states",), ("manifests", "driver", "states"), ("manifests", "vbios", "states")),
    ),
    # A TPM sees what was booted, and neither the processor nor memory: the hardware is the TPM itself.
    "tpm": Aspects(
        executables=("pcrs",),
        identity=("ak.key",),
        hardware=("ak.root", "ek", "tpm.firmware_version"),
        supported=("tpm.firmware_version",),
        configuration=("pcrs.pcr7",),
    ),
    # Neither token has a word on the encryption of memory.
    "cca": Aspects(
        executables=("realm.rim", "realm.rem"),
        identity=("platform.instance_id",),
        hardware=("platform",),
        supported=("platform.lifecycle", "platform.software"),
    ),
}
