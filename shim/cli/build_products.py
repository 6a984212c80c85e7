"""What a build writes beside the image: documents, reference values, and what is needed to repeat it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shim.cli.build_provenance import ProvenanceOptions

if TYPE_CHECKING:
    from images.image import Image
    from images.records import Documented
    from shim.cli.build_output import Packed

NO_PROVENANCE = ProvenanceOptions(None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Products:
    """
    Where the rest of a build is written; None for what nobody asked for.

    Attributes:
        sbom: A folder for documents.
        reference_values: A file for what hardware will say.
        buildinfo: A file for `shim rebuild`.
        provenance: Who says how it was made, and where.
    """

    sbom: Path | None
    reference_values: Path | None
    buildinfo: Path | None
    provenance: ProvenanceOptions = NO_PROVENANCE

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

        packed, said = self.provenance.applied(built, packed)
        if self.reference_values is not None:
            write_reference_values(self.reference_values, packed.written.expected)
        packed.write(target)
        yield f"{target}: {len(built.tree.entries)} entries, {built.tree.size} bytes, {packed.said}"
        yield f"entry point {' '.join(built.entry_point)}, plan sha256:{built.manifest.plan}"
        if said is not None:
            yield from self._provenance(said)
        if self.buildinfo is not None:
            write_file(self.buildinfo, buildinfo.dumps(built.manifest, packed.written))
            yield f"{self.buildinfo}: what `shim rebuild` needs to repeat this"
        if self.sbom is not None and documents is not None:
            yield from write_documents(self.sbom, documents)

    def _provenance(self, said: bytes) -> Iterator[str]:
        from images.output import write_file

        signed = "signed" if self.provenance.key is not None else "not signed: shim sign --builder does that"
        place = "attached"
        if self.provenance.provenance is not None:
            write_file(self.provenance.provenance, said)
            place = str(self.provenance.provenance)
        yield f"provenance by {self.provenance.builder}: {place}, {signed}"
