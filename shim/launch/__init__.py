"""
How is a program launched under its filter?

`run` launches a plan and waits; call it in a thread of its own, as `asyncio.to_thread` does.  It is imported
when it is first used, because most commands do not need the native code.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shim.launch.native import LaunchResult, ViolationEvent, run

__all__ = ["LaunchResult", "ViolationEvent", "run"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # one type per name
    """Return what `shim.launch.native` has of this name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("shim.launch.native"), name)
