"""
Launch several programs at once from asyncio, and take their refused calls as they come.

`python launch_async.py PLAN...` with plans that `shim plan` wrote. Each launch has a thread of its own: the
kernel lets only the thread that started a program trace it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from shim.launch import LaunchResult, ViolationEvent, run


async def launch(plan: bytes, events: asyncio.Queue[ViolationEvent]) -> LaunchResult:
    """Run a plan to its end, and put each refused call into `events` while it runs."""
    loop = asyncio.get_running_loop()

    def report(event: ViolationEvent) -> None:
        loop.call_soon_threadsafe(events.put_nowait, event)

    return await asyncio.to_thread(run, plan, on_event=report)


async def main(paths: list[str]) -> int:
    """Launch all plans at the same time, and say how each ended."""
    events: asyncio.Queue[ViolationEvent] = asyncio.Queue()
    plans = [await asyncio.to_thread(Path(path).read_bytes) for path in paths]
    results = await asyncio.gather(*(launch(plan, events) for plan in plans))
    for path, result in zip(paths, results, strict=True):
        print(f"{path}: exit code {result.exit_code}, {result.reported} refused calls")
    while not events.empty():
        event = events.get_nowait()
        print(f"refused: syscall {event.syscall} at {event.address:#x} of thread {event.pid}")
    return max((result.exit_code for result in results), default=0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
