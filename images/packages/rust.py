"""Which crates is a Rust program made of, where `cargo auditable` built it?"""

from __future__ import annotations

import json
import zlib
from typing import Any

from images.packages.errors import BuildInformationError
from images.packages.package import Ecosystem, Package
from shim.elf.image import ElfImage

SOURCE = "cargo-auditable, PARSING.md and cargo-auditable.schema.json"
SECTION = ".dep-v0"
MAX_BYTES = 8 << 20


def rust_crates(image: ElfImage) -> tuple[Package, ...]:
    """
    Return the crates that were linked into a program; none where it does not say.

    Crates that only ran while it was built are left out.

    Raises:
        BuildInformationError: the section is there but damaged.

    Source:
        cargo-auditable, PARSING.md: JSON compressed by zlib, in a section called .dep-v0.
    """
    section = image.section(SECTION)
    if section is None:
        return ()
    where = f"{image.path}: {SECTION}"
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(image.section_data(section), MAX_BYTES)
        if not unpacker.eof:
            raise BuildInformationError(where, f"more than {MAX_BYTES} bytes, or an early end", "all of it")
        document = json.loads(text)
        crates = {
            _crate(one, where) for one in document["packages"] if one.get("kind", "runtime") == "runtime"
        }
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BuildInformationError(where, "no list of crates", "JSON compressed by zlib", SOURCE) from error
    return tuple(sorted(crates))


def _crate(value: dict[str, Any], where: str) -> Package:
    name, version, source = value["name"], value["version"], value["source"]
    if not all(isinstance(text, str) and text and text.isprintable() for text in (name, version, source)):
        raise BuildInformationError(where, repr(value)[:120], "name, version and source of a crate", SOURCE)
    # Only what came from crates.io is meant by its name there.
    ecosystem = Ecosystem.CARGO if source == "crates.io" else Ecosystem.GENERIC
    return Package(ecosystem, name, version)
