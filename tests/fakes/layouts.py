"""
Image layouts from files, small enough to flip every byte of them, and policies and keys that go with them.

The writer is on purpose another one than the project's: it follows OCI image-spec 1.1 alone.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from images.signature.keys import PrivateKey, read_private

PREFIX = "application/vnd.oci.image"
SBOM = b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":[]}'
SPDX = b'{"spdxVersion":"SPDX-2.3","packages":[]}'
IDENTITY = "registry.example/app"


def tar(files: Mapping[str, bytes | str]) -> bytes:
    """Return an archive: bytes are files, text is where a link leads, and a name with a slash behind a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode = 0o755
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            elif isinstance(data, str):
                member.type, member.linkname = tarfile.SYMTYPE, data
            else:
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data) if isinstance(data, bytes) and member.isreg() else None)
    return out.getvalue()


def image_manifest() -> bytes:
    """Return what `shim build` says of an image inside of it."""
    value: dict[str, object] = {
        "schema": 2,
        "program": "/bin/hello",
        "arguments": ["/bin/hello", "world"],
        "given": "hello",
        "request": ["--env", "A=1"],
        "inputs": [
            {"name": "program", "sha256": "11" * 32, "detail": "/bin/hello"},
            {"name": "launcher", "sha256": "22" * 32, "detail": "shim-launch"},
            {"name": "source", "sha256": "", "detail": "a directory"},
        ],
        "arch": "x86_64",
        "phases": [],
        "plan": "33" * 32,
        "created": 315532800,
        "tool_version": "0.1.0",
        "reasons": [],
        "packages": [],
        "files": [],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


FILES: Mapping[str, bytes | str] = {
    "bin/": b"",
    "bin/hello": b"\x7fELF hello",
    "bin/hi": "hello",
    "shim/": b"",
    "shim/launch": b"\x7fELF launcher",
    "shim/plan": b"plan",
    "shim/manifest.json": image_manifest(),
}


def layout(
    *images: tuple[str, Sequence[bytes]], annotations: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """Return the files of a layout with an image for each architecture, from its layers as archives."""
    files: dict[str, bytes] = {}
    entries = []
    for architecture, archives in images or (("amd64", (tar(FILES),)),):
        layers = [put(files, f"{PREFIX}.layer.v1.tar+gzip", gzip.compress(one, mtime=0)) for one in archives]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/shim/launch", "/shim/plan"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(one) for one in archives]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{PREFIX}.manifest.v1+json",
            "config": put(files, f"{PREFIX}.config.v1+json", json.dumps(config).encode()),
            "layers": layers,
        }
        entry = put(files, f"{PREFIX}.manifest.v1+json", json.dumps(manifest).encode())
        entry["platform"] = {"architecture": architecture, "os": "linux"}
        entry["annotations"] = {"org.opencontainers.image.ref.name": "latest", **(annotations or {})}
        entries.append(entry)
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    return files


def put(files: dict[str, bytes], media_type: str, data: bytes) -> dict[str, Any]:
    """Add a blob, and return what names it."""
    files[f"blobs/sha256/{sha256(data)[7:]}"] = data
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def blob_named(descriptor: Mapping[str, Any]) -> str:
    """Return the name in a layout of the blob that a descriptor names."""
    return f"blobs/sha256/{descriptor['digest'][7:]}"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def write(files: Mapping[str, bytes], directory: Path) -> Path:
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def replaced(files: Mapping[str, bytes], name: str, data: bytes) -> dict[str, bytes]:
    """Return a layout in which one blob has other bytes, and all that names it, directly or not, agrees."""
    assert data != files[name], f"{name}: nothing altered"
    result = dict(files)
    if not name.startswith("blobs/"):
        return {**result, name: data}
    old, size = f"sha256:{name.rpartition('/')[2]}", len(result.pop(name))
    put(result, "", data)
    for other in list(result):
        if other in result and old.encode() in result[other]:
            value = json.loads(result[other])
            if rename(value, old, sha256(data), size, len(data)):
                spelled = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
                result = replaced(result, other, spelled)
    return result


def rename(value: object, old: str, new: str, size: int, new_size: int) -> bool:
    """Change what names one blob so that it names another; return whether anything did."""
    if isinstance(value, list):
        return sum(rename(item, old, new, size, new_size) for item in value) > 0
    if not isinstance(value, dict):
        return False
    found = value.get("digest") == old and value.get("size") == size
    if found:
        value["digest"], value["size"] = new, new_size
    return sum(rename(item, old, new, size, new_size) for item in value.values()) > 0 or found


def private_pem(kind: str = "p256", passphrase: bytes | None = None) -> bytes:
    key = (
        ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    protection = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def public_pem(key: PrivateKey) -> bytes:
    return key.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def new_key(name: str = "test key", kind: str = "p256") -> PrivateKey:
    return read_private(private_pem(kind), name)


POLICY: Mapping[str, Any] = {
    "sbom": "any",
    "signature": {"keys": ["release.pub"], "threshold": 1, "identity": IDENTITY, "contents": "signed"},
    "version": {"minimum": 3, "state": "versions.json"},
    "provenance": {
        "keys": ["builder.pub"],
        "builders": ["https://build.example/ci"],
        "build_types": ["urn:tee-shim:build:v1"],
        "inputs": {"digests": ["11" * 32], "sources": ["urn:tee-shim:launcher:*", "urn:tee-shim:source:*"]},
    },
}
