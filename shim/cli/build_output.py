"""How `shim build` writes an image: in the format that was asked for, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shim.cli.build_boot import BootOptions

if TYPE_CHECKING:
    from attestation.reference_values import Entry
    from images.compress import Compressed, Compression
    from images.image import Image
    from images.oci import RuntimeSettings
    from images.records import Documented


@dataclass(frozen=True, slots=True)
class Output:
    """
    A format with all that decides its bytes.

    Attributes:
        form: oci, rootfs, initramfs, or one of those that firmware boots.
        compression, level: Of a layer, or of an initramfs.
        settings: Of an OCI image.
        tag: Its name in its layout.
        boot: What starts an image that boots.
    """

    form: str
    compression: Compression
    level: int | None
    settings: RuntimeSettings
    tag: str
    boot: BootOptions

    def write(self, built: Image, target: Path) -> tuple[str, ...]:
        """
        Write the image, and return what is said of it.

        Raises:
            OutputError: it cannot be written; what stood there still does.
            BootImageError, MeasureError: of these parts nothing boots, or nobody knows what that measures to.
        """
        writers: dict[str, Callable[[Image, Path], str]] = {
            "oci": self._oci,
            "rootfs": self._rootfs,
            "initramfs": self._initramfs,
        }
        said = writers.get(self.form, self._bootable)(built, target)
        return (
            f"{target}: {len(built.tree.entries)} entries, {built.tree.size} bytes, {said}",
            f"entry point {' '.join(built.entry_point)}, plan sha256:{built.manifest.plan}",
        )

    def _rootfs(self, built: Image, target: Path) -> str:
        from images.output import write_tree

        write_tree(target, built.tree, built.created)
        return f"{built.tree.size} in a directory"

    def _oci(self, built: Image, target: Path) -> str:
        from images.oci import layout, oci_image
        from images.output import write_files

        image = oci_image(built, self.compression, self.settings, self.level)
        write_files(target, layout((image,), self.tag))
        return f"{len(image.layer.data)} in the layer, manifest sha256:{image.manifest.digest}"

    def _initramfs(self, built: Image, target: Path) -> str:
        from images.output import write_file
        from shim.cli.build_boot import boot_of, expected_of, is_simulated

        packed, started = self._packed(built), ""
        if self.boot.kernel is not None:
            boot = boot_of(self.boot, self.form, built, packed.data)
            expected = expected_of(self.boot, boot, simulated=is_simulated(built))
            self._expect(expected)
            started = f", boots with {boot.command_line}" + "".join(f"\n{line}" for line in _lines(expected))
        write_file(target, packed.data)
        return f"{len(packed.data)} as an initramfs, {packed.compressor or 'not compressed'}{started}"

    def _bootable(self, built: Image, target: Path) -> str:
        from images.bootable import bootable
        from images.output import write_sparse
        from shim.cli.build_boot import boot_of

        packed = self._packed(built)
        boot = boot_of(self.boot, self.form, built, packed.data)
        image, expected = bootable(self.form, boot)
        self._expect(expected)
        write_sparse(target, image)
        registers = "".join(f"\n{line}" for line in _lines(expected))
        return f"{image.size} as {self.form}, boots with {boot.command_line}{registers}"

    def _packed(self, built: Image) -> Compressed:
        from images.compress import compress
        from images.cpio import cpio_bytes

        return compress(cpio_bytes(built.tree, built.created), self.compression, self.level)

    def _expect(self, entries: tuple[Entry, ...]) -> None:
        from attestation import reference_values
        from images.output import write_file

        if self.boot.reference_values is not None:
            write_file(self.boot.reference_values, reference_values.write(entries) + b"\n")


def records_of(paths: Iterable[Path]) -> Mapping[str, bytes]:
    """
    Return files of OSV records by name.

    Raises:
        InputFileError: one cannot be read.
    """
    from shim.cli.measure_input import MAXIMUM_IMAGE, read

    return {str(path): read(path, "vulnerabilities", MAXIMUM_IMAGE) for path in paths}


def write_documents(folder: Path, described: Documented) -> Iterator[str]:
    """
    Write documents into a folder, which is made where it is not there, and yield what is said of them.

    Raises:
        OutputError: it cannot be written.
    """
    from images.errors import OutputError
    from images.output import write_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(folder), str(error.strerror), "a folder to write to") from error
    for name, data in described.files.items():
        write_file(folder / name, data)
    yield f"{folder}: {', '.join(described.files)}, {described.packages} packages"
    for line in described.missing:
        yield f"not known to anybody: {line}"
    for line in described.left_out:
        yield f"nothing stated: {line}"


def _lines(entries: tuple[Entry, ...]) -> Iterator[str]:
    for entry in entries:
        state = "".join(f", {name} {value}" for name, value in entry.environment.items())
        yield f"expected {entry.register} {entry.algorithm}:{entry.digest.hex()}{state}"
