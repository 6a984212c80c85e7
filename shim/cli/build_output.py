"""How `shim build` writes an image: in the format that was asked for, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shim.cli.build_boot import BootOptions

if TYPE_CHECKING:
    from attestation.reference_values import Entry
    from images.buildinfo import BootInput, Written
    from images.compress import Compressed, Compression
    from images.image import Image
    from images.oci import RuntimeSettings
    from images.records import Documented
    from images.sparse import SparseImage
    from images.tree import Tree


@dataclass(frozen=True, slots=True)
class Packed:
    """
    An image in its format, not yet written.

    Attributes:
        data: The files of a layout by their names, one file, or a directory's tree.
        written: How it was written; its size, its digest and what hardware will say of it.
        created: Seconds since 1970.
        said: What a person should know of it.
    """

    data: Mapping[str, bytes] | SparseImage | Tree
    written: Written
    created: int
    said: str

    def write(self, target: Path) -> None:
        """
        Write it, whole or not at all.

        Raises:
            OutputError: it cannot be written; what stood there still does.
        """
        from images import output
        from images.sparse import SparseImage
        from images.tree import Tree

        if isinstance(self.data, Tree):
            output.write_tree(target, self.data, self.created)
        elif isinstance(self.data, SparseImage):
            output.write_sparse(target, self.data)
        else:
            output.write_files(target, self.data)


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

    def packed(self, built: Image) -> Packed:
        """
        Return the image in its format.

        Raises:
            BootImageError, MeasureError: of these parts nothing boots, or nobody knows what that measures to.
        """
        makers: dict[str, Callable[[Image], Packed]] = {
            "oci": self._oci,
            "rootfs": self._rootfs,
            "initramfs": self._initramfs,
        }
        return makers.get(self.form, self._bootable)(built)

    def _rootfs(self, built: Image) -> Packed:
        from images.buildinfo import Written
        from images.image import MANIFEST

        text = next(entry for entry in built.tree.entries if entry.name == MANIFEST)
        digest = "" if text.content is None else text.content.sha256
        written = Written(self.form, size=built.tree.size, sha256=digest)
        return Packed(built.tree, written, built.created, f"{built.tree.size} in a directory")

    def _oci(self, built: Image) -> Packed:
        from images.layout_written import written_of
        from images.oci import layout, oci_image

        image = oci_image(built, self.compression, self.settings, self.level)
        files = layout((image,), self.tag)
        said = f"{len(image.layer.data)} in the layer, manifest sha256:{image.manifest.digest}"
        return Packed(files, written_of(files, "the image"), built.created, said)

    def _initramfs(self, built: Image) -> Packed:
        from images.sparse import SparseImage
        from shim.cli.build_boot import boot_of, expected_of, is_simulated

        packed, started = self._initrd(built), ""
        expected: tuple[Entry, ...] = ()
        inputs: tuple[BootInput, ...] = ()
        if self.boot.kernel is not None:
            boot, inputs = boot_of(self.boot, self.form, built, packed.data)
            expected = expected_of(self.boot, boot, simulated=is_simulated(built))
            started = f", boots with {boot.command_line}" + "".join(f"\n{line}" for line in _lines(expected))
        said = f"{len(packed.data)} as an initramfs, {packed.compressor or 'not compressed'}{started}"
        data = SparseImage(len(packed.data), ((0, packed.data),))
        return Packed(data, self._written(packed, data, inputs, expected), built.created, said)

    def _bootable(self, built: Image) -> Packed:
        from images.bootable import bootable
        from shim.cli.build_boot import boot_of

        packed = self._initrd(built)
        boot, inputs = boot_of(self.boot, self.form, built, packed.data)
        image, expected = bootable(self.form, boot)
        registers = "".join(f"\n{line}" for line in _lines(expected))
        said = f"{image.size} as {self.form}, boots with {boot.command_line}{registers}"
        return Packed(image, self._written(packed, image, inputs, expected), built.created, said)

    def _initrd(self, built: Image) -> Compressed:
        from images.compress import compress
        from images.cpio import cpio_bytes

        return compress(cpio_bytes(built.tree, built.created), self.compression, self.level)

    def _written(
        self,
        packed: Compressed,
        data: SparseImage,
        inputs: tuple[BootInput, ...],
        expected: tuple[Entry, ...],
    ) -> Written:
        from images.buildinfo import Written
        from images.compress import level_of

        return Written(
            self.form,
            str(self.compression),
            level_of(packed.compressor),
            packed.compressor,
            cmdline=self.boot.cmdline,
            snp=self.boot.snp,
            boot=inputs,
            size=data.size,
            sha256=data.sha256,
            expected=expected,
        )


def write_reference_values(path: Path, entries: tuple[Entry, ...]) -> None:
    """
    Write what hardware will say of an image, for policies.

    Raises:
        OutputError: it cannot be written.
    """
    from attestation import reference_values
    from images.output import write_file

    write_file(path, reference_values.write(entries) + b"\n")


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
    for line in described.left_out:
        yield f"nothing stated: {line}"


def _lines(entries: tuple[Entry, ...]) -> Iterator[str]:
    for entry in entries:
        state = "".join(f", {name} {value}" for name, value in entry.environment.items())
        yield f"expected {entry.register} {entry.algorithm}:{entry.digest.hex()}{state}"
