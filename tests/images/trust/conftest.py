"""One signed image, the policy that accepts it, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.fakes import trust


@pytest.fixture(scope="session")
def case() -> trust.Case:
    """A signed image with an SBOM and provenance."""
    return trust.case()


@pytest.fixture
def refusals(case: trust.Case) -> Callable[..., list[str]]:
    """Return why a layout is refused, in words; [] if it is accepted."""

    def found(files: Mapping[str, bytes], **more: Any) -> list[str]:  # noqa: ANN401  # as trust.refusals
        return trust.refusals(case, files, **more)

    return found
