"""One target under the fuzzer: `python -m tests.fuzz.one TARGET [options of libFuzzer]`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["attestation", "images"]):
    from tests.fuzz.targets import TARGETS

from shim.errors import ShimError


def main() -> None:
    target = TARGETS[sys.argv[1]]

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except ShimError:
            return

    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


main()
