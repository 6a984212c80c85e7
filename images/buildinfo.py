"""
What a build needs to be repeated, and what came out of it: the manifest of an image and how it was written.

The manifest is part of the image and the same for every format; format, compressor, kernel and the like are
not in it, so that one tree gives all formats.  `shim rebuild` reads this where the image is one file.  The
name is that of reproducible-builds.org for such records, and of Debian's deb-buildinfo(5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from attestation import reference_values
from attestation.reference_values import Entry, ReferenceValueError
from images import manifest as manifests
from images.compress import Compression
from images.errors import ManifestError
from images.manifest import MAX_BYTES, Manifest
from shim.canonical import canonical_bytes

SCHEMA_VERSION = 1
KIND = "tee-shim/buildinfo"
FORMS = ("oci", "rootfs", "initramfs", "uki", "disk", "vhd", "eif")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class BootInput:
    """
    One file that an image boots with.

    Attributes:
        name: "kernel", "stub" or "firmware".
        path: As the user named it; where it was found, if nobody named it.
        sha256: Its digest.
        named: Whether the user did.
    """

    name: str
    path: str
    sha256: str
    named: bool


@dataclass(frozen=True, slots=True)
class Written:
    """
    How an image was written, and what that came to.

    Attributes:
        form: One of `FORMS`.
        compression: "gzip", "zstd" or "none": of the layer or the initramfs.
        level: Of it; None for what is not compressed.
        compressor: Its name and version; "" for none.
        labels, user, tag: Of an OCI image and its layout.
        cmdline: What the user added to the kernel's command line.
        snp: The launches under SEV-SNP to predict.
        boot: The files that it boots with.
        size: In bytes: of the file; of all blobs of an OCI image; of all files of a directory.
        sha256: Of the file; of an OCI image's manifest; of the manifest in a directory.
        expected: Reference values.
    """

    form: str
    compression: str = "none"
    level: int | None = None
    compressor: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    user: str = ""
    tag: str = ""
    cmdline: str = ""
    snp: tuple[str, ...] = ()
    boot: tuple[BootInput, ...] = ()
    size: int = 0
    sha256: str = ""
    expected: tuple[Entry, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `shim build` that write an image so, all spelled out."""
        found = ["--format", self.form]
        if self.form != "rootfs":
            found += ["--compress", self.compression]
            found += [] if self.level is None else ["--level", str(self.level)]
        for name, value in self.labels:
            found += ["--label", f"{name}={value}"]
        for option, text in (("--user", self.user), ("--tag", self.tag), ("--cmdline", self.cmdline)):
            found += [option, text] if text else []
        for one in self.boot:
            found += [f"--{one.name}", one.path] if one.named else []
        for launch in self.snp:
            found += ["--snp", launch]
        return tuple(found)


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """A manifest, and how its image was written; `written` is None where nobody knows that."""

    manifest: Manifest
    written: Written | None


def dumps(manifest: Manifest, written: Written) -> bytes:
    """Return the canonical JSON of a build's record, UTF-8, without a final newline."""
    value = asdict(written)
    value["expected"] = json.loads(reference_values.write(written.expected))
    value["labels"] = dict(written.labels)
    return canonical_bytes(
        {
            "kind": KIND,
            "schema": SCHEMA_VERSION,
            "manifest": json.loads(manifests.dumps(manifest)),
            "written": value,
        }
    )


def loads(data: bytes, where: str) -> BuildInfo:
    """
    Return what `dumps` wrote, or a manifest alone.

    Raises:
        ManifestError: neither, of another schema, or not the canonical text of what it says.

    Not checked:
        That anything of it is true: nobody signed it.
    """
    if len(data) > MAX_BYTES:
        raise ManifestError(where, f"{len(data)} bytes", f"at most {MAX_BYTES} bytes")
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        want = "an image's directory or manifest; of an image that is one file what --buildinfo wrote"
        raise ManifestError(where, "no JSON", want) from error
    if not isinstance(value, dict) or value.get("kind") != KIND:
        return BuildInfo(manifests.loads(data, where), None)
    manifests.check_schema(value.get("schema"), SCHEMA_VERSION, where)
    try:
        inner = canonical_bytes(value["manifest"])
        manifest = manifests.loads(inner, f"{where}: manifest")
        written = _written(value["written"], where)
        spelled = dumps(manifest, written)
    except ManifestError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ReferenceValueError) as error:
        raise ManifestError(where, "no record of a build", "what shim build --buildinfo wrote") from error
    if spelled != data:
        raise ManifestError(where, "another spelling", "the canonical JSON of what it says")
    return BuildInfo(manifest, written)


def _written(value: Mapping[str, Any], where: str) -> Written:
    entries = reference_values.parse(canonical_bytes(value["expected"]), f"{where}: expected").entries
    written = Written(
        **{
            **value,
            "labels": tuple(sorted((_text(name), _text(text)) for name, text in value["labels"].items())),
            "snp": tuple(_text(one) for one in value["snp"]),
            "boot": tuple(BootInput(**one) for one in value["boot"]),
            "expected": entries,
        }
    )
    texts = (written.compression, written.compressor, written.user, written.tag, written.cmdline)
    for text in (*texts, *(one.path for one in written.boot)):
        _text(text)
    for digest in (written.sha256, *(one.sha256 for one in written.boot)):
        if not _SHA256.fullmatch(_text(digest)):
            raise ValueError(digest)
    if written.form not in FORMS or any(
        one.name not in ("kernel", "stub", "firmware") for one in written.boot
    ):
        raise ValueError(written.form)
    if written.compression not in tuple(Compression) or any(
        type(one.named) is not bool for one in written.boot
    ):
        raise ValueError(written.compression)
    if type(written.size) is not int or (written.level is not None and type(written.level) is not int):
        raise TypeError(written.size)
    return written


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
