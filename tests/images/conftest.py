"""Programs that images are made of."""

from __future__ import annotations

from tests.shim.conftest import compile_c  # noqa: F401  # a fixture
