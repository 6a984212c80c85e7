"""What a build writes beside the image: documents, reference values, and what is needed to repeat it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from images.image import Image
    from images.records import Documented
    from shim.cli.build_output import Packed


@dataclass(frozen=True, slots=True)
class Products:
    """
    Where the rest of a build is written; None for what nobody asked for.

    Attributes:
        sbom: A folder for documents.
        reference_values: A file for what hardware will say.
        buildinfo: A file for `shim rebuild`.
    """

    sbom: Path | None
    reference_values: Path | None
    buildinfo: Path | None

    def write(
        self, built: Image, packed: Packed, target: Path, documents: Documented | None
    ) -> Iterator[str]:
        """
        Write the image and the rest, and yield what is said of them.

        Raises:
            OutputError: something cannot be written; what stood there still does.
        """
        from images import buildinfo
        from images.output import write_file
        from shim.cli.build_output import write_documents, write_reference_values

        if self.reference_values is not None:
            write_reference_values(self.reference_values, packed.written.expected)
        packed.write(target)
        yield f"{target}: {len(built.tree.entries)} entries, {built.tree.size} bytes, {packed.said}"
        yield f"entry point {' '.join(built.entry_point)}, plan sha256:{built.manifest.plan}"
        if self.buildinfo is not None:
            write_file(self.buildinfo, buildinfo.dumps(built.manifest, packed.written))
            yield f"{self.buildinfo}: what `shim rebuild` needs to repeat this"
        if self.sbom is not None and documents is not None:
            yield from write_documents(self.sbom, documents)
