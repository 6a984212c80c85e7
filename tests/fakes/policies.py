"""Policy files that accept exactly what the fake chip says, and can be changed in one place."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from attestation.policy import Policy, load

GUEST_POLICY_BITS = (
    "smt",
    "migrate_ma",
    "debug",
    "single_socket",
    "cxl_allow",
    "mem_aes_256_xts",
    "rapl_dis",
    "ciphertext_hiding",
    "page_swap_disable",
)
PLATFORM_BITS = (
    "smt_en",
    "tsme_en",
    "ecc_en",
    "rapl_dis",
    "ciphertext_hiding_en",
    "alias_check_complete",
    "iommu_write_safe",
    "tio_en",
)
MINIMA = {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219}
STRICT: dict[str, object] = {
    "tee": "snp",
    "boot": "kernel-hashes",
    "binding": "exact",
    "max_clock_skew": 0,
    "crl": "required",
    "report": {
        "measurement": [{"digest": bytes(range(48)).hex(), "label": "the fake"}],
        "signer": "vcek",
        "vmpl": [0],
        "guest_svn": 0,
        "host_data": ["00" * 32],
        "family_id": ["00" * 16],
        "image_id": ["00" * 16],
        "id_key_digest": ["00" * 48],
        "author_key_digest": ["00" * 48],
        "report_id": [bytes(range(32)).hex()],
        "report_id_ma": ["ff" * 32],
        "chip_id": "unchecked",
        "csp_id": "unchecked",
    },
    "guest_policy": {
        **dict.fromkeys(GUEST_POLICY_BITS, "clear"),
        "smt": "set",
        "abi": "0.0",
        "reserved": "clear",
    },
    "platform_info": {
        **dict.fromkeys(PLATFORM_BITS, "clear"),
        "smt_en": "set",
        "ecc_en": "set",
        "alias_check_complete": "set",
        "reserved": "clear",
    },
    "firmware": {"current": "1.55.29", "committed": "1.55.29", "provisional": "refused"},
    "mitigations": {"launch": 3, "current": 7},
    "tcb": {"Milan": dict.fromkeys(("reported", "committed", "current", "launch"), MINIMA)},
}


def lax(measurement: bytes, debug: str) -> dict[str, object]:
    """Return a policy that checks the measurement and DEBUG, and nothing else."""
    free = {
        key: dict.fromkeys(value, "unchecked") if isinstance(value, dict) else "unchecked"
        for key, value in STRICT.items()
    }
    free |= {"tee": "snp", "boot": "kernel-hashes", "max_clock_skew": 0, "tcb": "unchecked"}
    reference = [{"digest": measurement.hex(), "label": "the one that it has"}]
    return changed("report.measurement", reference, changed("guest_policy.debug", debug, free))


def changed(path: str, value: object, base: Mapping[str, object] = STRICT) -> dict[str, object]:
    """Return a copy of `base` in which the key at the dotted `path` has another value; None removes it."""
    values: dict[str, object] = copy.deepcopy(dict(base))
    place: dict[str, object] = values
    *tables, key = path.split(".")
    for table in tables:
        inner = place[table]
        assert isinstance(inner, dict)
        place = inner
    if value is None:
        del place[key]
    else:
        place[key] = value
    return values


def toml(values: Mapping[str, object]) -> str:
    """Return the text of a policy; tables two levels deep, everything else inline."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_inline(value)}" for key, value in plain.items()]
    for name, table in values.items():
        if isinstance(table, dict):
            lines.append(f"[{name}]")
            lines.extend(f"{key} = {_inline(value)}" for key, value in table.items())
    return "\n".join(lines) + "\n"


def policy(values: Mapping[str, object] = STRICT) -> Policy:
    return load(toml(values), "test.toml")


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
