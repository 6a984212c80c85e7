"""
Print what a pod is annotated with, and what evidence then says, for the init-data in a file.

    python3 initdata.py initdata.toml

Source: kata-containers, src/libs/kata-types/src/initdata.rs: base64 of gzip of the file; the digest of its text by the
algorithm that it names, cut or filled up with zeros to the size of the field.
"""

import base64
import gzip
import hashlib
import sys
import tomllib
from pathlib import Path

ANNOTATION = "io.katacontainers.config.hypervisor.cc_init_data"
FIELDS = {"host_data": 32, "mr_config_id": 48, "rpv": 64}


def annotation(text: bytes) -> str:
    """Return the value of the annotation, the same for the same text."""
    return base64.b64encode(gzip.compress(text, mtime=0)).decode("ascii")


def digests(text: bytes) -> dict[str, str]:
    """Return the keys of policies for SEV-SNP, TDX and CCA, and what to write there."""
    said = tomllib.loads(text.decode())
    if said["version"] != "0.1.0" or said["algorithm"] not in {"sha256", "sha384", "sha512"}:
        raise SystemExit("found another version or algorithm, want 0.1.0, and sha256, sha384 or sha512")
    digest = hashlib.new(said["algorithm"], text).digest()
    return {name: digest[:size].ljust(size, b"\0").hex() for name, size in FIELDS.items()}


if __name__ == "__main__":
    content = Path(sys.argv[1]).read_bytes()
    print(f"{ANNOTATION}: {annotation(content)}")
    for name, value in digests(content).items():
        print(f'{name} = ["{value}"]')
