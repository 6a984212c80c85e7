# ruff: noqa: INP001  # a build script beside the C it builds
"""How `shim.analysis._decode` is built: cffi in API mode over native/build/libx86.a."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path("native")  # setuptools runs in the project's root; paths of an sdist are relative

ffibuilder = FFI()
for declarations in ("x86.cdef", "explore.cdef", "words.cdef"):
    ffibuilder.cdef((HERE / declarations).read_text(encoding="ascii"))
ffibuilder.set_source(
    "shim.analysis._decode",
    '#include "x86_run.h"\n#include "x86_decode.h"\n#include "explore.h"\n#include "words.h"\n',
    include_dirs=[str(HERE)],
    extra_objects=[str(HERE / "build" / "libx86.a")],
    depends=[str(HERE / name) for name in ("build/libx86.a", "x86.cdef", "explore.cdef", "words.cdef")],
    extra_compile_args=["-std=gnu11", "-Os", "-fvisibility=hidden"],
    extra_link_args=["-Wl,-z,relro,-z,now,-z,noexecstack"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
