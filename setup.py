"""What pyproject.toml cannot say: the extension, and the static binaries beside it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext


class BuildNative(build_ext):
    """Builds native/ by its own Makefile, then the extension over it."""

    def run(self) -> None:
        """Build the library, the launchers, the extension; put the launchers beside the extension."""
        subprocess.run(["make", "-C", "native", "lib", "launcher", "init"], check=True)
        super().run()
        beside = Path(self.get_ext_fullpath("shim.launch._native")).parent
        beside.mkdir(parents=True, exist_ok=True)
        for name in ("shim-launch", "shim-init"):
            shutil.copy2(f"native/build/{name}", beside / name)


setup(
    cffi_modules=["native/build_native.py:ffibuilder", "native/build_decode.py:ffibuilder"],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
