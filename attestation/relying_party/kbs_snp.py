"""
Which 1184 bytes is a report of SEV-SNP that came as a JSON object with a member for each field?

Nothing is believed here: a report that was put together wrongly has a signature that does not hold.  Bytes
that no member stands for are reserved and zero.

Source:
    virtee/sev, src/firmware/guest/types/snp.rs, `AttestationReport`, as it was until release 4 and is since;
    the offsets are those of attestation.snp.report.
"""

from __future__ import annotations

from attestation.json_document import JsonObject
from attestation.relying_party.octets import octets
from attestation.snp.products import FAMILY_1AH, FAMILY_19H
from attestation.snp.report import FIELDS, SIZE

_NUMBERS = {
    "version": "VERSION",
    "guest_svn": "GUEST_SVN",
    "policy": "POLICY",
    "vmpl": "VMPL",
    "sig_algo": "SIGNATURE_ALGO",
    "plat_info": "PLATFORM_INFO",
}
_OPTIONAL_NUMBERS = {
    "cpuid_fam_id": "CPUID_FAM_ID",
    "cpuid_mod_id": "CPUID_MOD_ID",
    "cpuid_step": "CPUID_STEP",
    "launch_mit_vector": "LAUNCH_MIT_VECTOR",
    "current_mit_vector": "CURRENT_MIT_VECTOR",
}
_OCTETS = (
    "family_id",
    "image_id",
    "report_data",
    "measurement",
    "host_data",
    "id_key_digest",
    "author_key_digest",
    "report_id",
    "report_id_ma",
    "chip_id",
)
_TCBS = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
_FIRMWARE = ("current", "committed")
_FIRMWARE_PARTS = ("build", "minor", "major")


def report(said: JsonObject) -> bytes:
    """
    Return the report, 1184 bytes.

    Raises:
        EvidenceFormatError: a member is missing, or not what its field can hold.
    """
    raw = bytearray(SIZE)
    for name, field in _NUMBERS.items():
        _place(raw, field, _number(said, name, field))
    # Releases before 4 knew only the first bit of it, and called it so.
    key_info = "key_info" if "key_info" in said else "_author_key_en"
    _place(raw, "KEY_INFO", _number(said, key_info, "KEY_INFO"))
    for name, field in _OPTIONAL_NUMBERS.items():
        if said.members.get(name) is not None:
            _place(raw, field, _number(said, name, field))
    for name in _OCTETS:
        _place(raw, name.upper(), octets(said, name, FIELDS[name.upper()][1]))
    for name in _TCBS:
        _place(raw, name.upper(), _tcb(said.part(name)))
    for name in _FIRMWARE:
        for part in _FIRMWARE_PARTS:
            # One object since release 5, three members before.
            holder, member = (said.part(name), part) if name in said else (said, f"{name}_{part}")
            _place(raw, f"{name}_{part}".upper(), holder.number(member, 0xFF).to_bytes(1, "little"))
    signature = said.part("signature")
    for name, field in (("r", "SIGNATURE_R"), ("s", "SIGNATURE_S")):
        _place(raw, field, octets(signature, name, FIELDS[field][1]))
    return bytes(raw)


def _tcb(said: JsonObject) -> bytes:
    """Return a TCB_VERSION; only that of Turin has a version of the FMC."""
    layout = FAMILY_19H if said.members.get("fmc") is None else FAMILY_1AH
    return bytes(0 if name.startswith("spl") else said.number(name, 0xFF) for name in layout)


def _number(said: JsonObject, name: str, field: str) -> bytes:
    size = FIELDS[field][1]
    return said.number(name, (1 << 8 * size) - 1).to_bytes(size, "little")


def _place(raw: bytearray, field: str, value: bytes) -> None:
    offset, size = FIELDS[field]
    raw[offset : offset + size] = value
