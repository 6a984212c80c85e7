# ruff: noqa: INP001  # a build script beside the C it builds
"""How `shim.launch._native` is built: cffi in API mode over native/build/libshim.a."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path("native")  # setuptools runs in the project's root; paths of an sdist are relative

SOURCE = """
#include "launch.h"
#include "probe.h"
#include "record.h"
#include "sha256.h"

/* Add BYTES in parts of PART: for tests of the seams between parts. */
static void sha256_of(int fast, const uint8_t *bytes, size_t size, size_t part, uint8_t digest[32])
{
    struct sha256 hash;

    sha256_begin(&hash, fast ? sha256_blocks_fast : sha256_blocks_portable);
    for (size_t at = 0; at < size; at += part)
        sha256_add(&hash, bytes + at, size - at < part ? size - at : part);
    sha256_end(&hash, digest);
}
"""

ffibuilder = FFI()
ffibuilder.cdef((HERE / "native.cdef").read_text(encoding="ascii"))
ffibuilder.set_source(
    "shim.launch._native",
    SOURCE,
    include_dirs=[str(HERE)],
    extra_objects=[str(HERE / "build" / "libshim.a")],
    depends=[str(HERE / "build" / "libshim.a"), str(HERE / "native.cdef")],
    extra_compile_args=["-std=gnu11", "-Os", "-fvisibility=hidden"],
    extra_link_args=["-Wl,-z,relro,-z,now,-z,noexecstack"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
