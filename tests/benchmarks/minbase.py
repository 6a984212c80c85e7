"""
The image that everybody can make: Debian's smallest system by mmdebstrap, and the program's package.

Made once, from the machine's own mirrors, and kept as OCI layouts below bench/minbase.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from images.compress import Compression, compress
from images.oci import CONFIG_TYPE, LAYER_TYPES, MANIFEST_TYPE, Descriptor, OciImage, layout
from shim.canonical import canonical_bytes

KEPT = Path(__file__).resolve().parents[2] / "bench" / "minbase"
# An older machine's mirrors take their time; what hangs is no peer.
SECONDS = 900


@dataclass(frozen=True, slots=True)
class Peer:
    """One such image: its layers on disk, in gzip at level 6, and the bytes of its files."""

    layers: tuple[Path, ...]
    whole: int

    @property
    def packed(self) -> int:
        """Bytes of all layers."""
        return sum(path.stat().st_size for path in self.layers)


def missing() -> str:
    """Return why no such tree can be made here, "" if it can."""
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not installed"
    if os.geteuid() != 0:
        return "mmdebstrap needs root"
    return "" if _sources() else "no mirror of Debian is configured"


def system(package: str) -> Peer:
    """
    Return Debian's smallest system with a package and what that depends on, "" for none.

    Raises:
        RuntimeError: mmdebstrap failed; its last words.
    """
    name = package or "base"
    packed, size = KEPT / f"{name}.tar.gz", KEPT / f"{name}.size"
    if not size.exists():
        archive = _bootstrapped(name, package)
        packed.write_bytes(compress(archive.read_bytes(), Compression.GZIP, 6).data)
        with tarfile.open(archive) as opened:
            whole = sum(member.size for member in opened if member.isreg())
        archive.unlink()
        size.write_text(f"{whole}\n")
    return Peer((packed,), int(size.read_text()))


def with_file(peer: Peer, file: Path, place: str, work: Path) -> Peer:
    """Return `peer` with one more layer of one file, which may be executed."""
    data, buffer = file.read_bytes(), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        header = tarfile.TarInfo(place.lstrip("/"))
        header.size, header.mode = len(data), 0o755
        archive.addfile(header, io.BytesIO(data))
    packed = compress(buffer.getvalue(), Compression.GZIP, 6).data
    layer = work / f"{hashlib.sha256(packed).hexdigest()}.tar.gz"
    layer.write_bytes(packed)
    return Peer((*peer.layers, layer), peer.whole + len(data))


def write_layout(peer: Peer, arguments: list[str], target: Path) -> None:
    """Write `peer` as an OCI layout whose entry point is `arguments`."""
    layers = [Descriptor(LAYER_TYPES[Compression.GZIP], path.read_bytes()) for path in peer.layers]
    archives = [
        subprocess.run(["gzip", "-dc"], input=one.data, capture_output=True, check=True) for one in layers
    ]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(arguments), "WorkingDir": "/"},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(one.stdout).hexdigest()}" for one in archives],
        },
    }
    described = Descriptor(CONFIG_TYPE, canonical_bytes(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": described.value(),
        "layers": [one.value() for one in layers],
    }
    top = OciImage(layers[0], described, Descriptor(MANIFEST_TYPE, canonical_bytes(manifest)), "x86_64")
    files = layout((top,), "latest")
    files |= {f"blobs/sha256/{one.digest}": one.data for one in layers}
    for name, data in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)


def _bootstrapped(name: str, package: str) -> Path:
    """Return the archive of a new tree; packages that were downloaded before come from our own folder."""
    downloads, archive = KEPT / "downloads", KEPT / f"{name}.tar"
    downloads.mkdir(parents=True, exist_ok=True)
    archives = "/var/cache/apt/archives/"
    done = subprocess.run(
        [
            "mmdebstrap",
            "--variant=minbase",
            "--format=tar",
            *([f"--include={package}"] if package else []),
            "--skip=download/empty",
            "--skip=essential/unlink",
            f'--setup-hook=mkdir -p "$1"{archives}',
            f"--setup-hook=sync-in {downloads} {archives}",
            f"--customize-hook=sync-out {archives} {downloads}",
            "",
            str(archive),
            "-",
        ],
        input="\n".join(_sources()),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        archive.unlink(missing_ok=True)
        raise RuntimeError(f"mmdebstrap for {name}: {done.stderr.strip()[-200:]}")
    return archive


def _sources() -> list[str]:
    """Return the machine's mirrors of Debian as lines of a sources.list."""
    if shutil.which("apt-get") is None:
        return []
    form = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    asked = ["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return [f"deb {line}" for line in dict.fromkeys(done.stdout.splitlines())]
