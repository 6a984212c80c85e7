"""`shim debug`: what is this program doing? Seen from outside; nothing of the tool has to be in its image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli.arguments import FORMAT

if TYPE_CHECKING:
    from shim.canonical import JsonValue
    from shim.launch.live import Live, LiveThread

# The program's own files stay where they are: the tools come from the host's.
_JOINED = {"net": "--net", "ipc": "--ipc", "uts": "--uts", "pid": "--pid"}


@click.command("debug", context_settings={"ignore_unknown_options": True})
@click.argument("pid", type=click.IntRange(min=1))
@click.argument("tool", nargs=-1, type=click.UNPROCESSED)
@FORMAT
def command(*, pid: int, tool: tuple[str, ...], output: str) -> None:
    """
    Show what process PID is doing: the syscall that each thread waits in, its filters, files and memory.

    With a TOOL (behind --) that runs instead, on the host's files, but in the program's network, processes,
    IPC and host name: `shim debug 1234 -- ss -tlnp`. The program's files are in /proc/PID/root.

    Exit codes: 0 shown; 1 no such process, or it may not be looked at; with a TOOL, as the tool.
    """
    from shim.canonical import canonical_bytes
    from shim.launch.live import look
    from shim.syscalls import table

    names = table("x86_64").names
    found = look(Path("/proc"), pid, names)
    if tool:
        _join(found, tool)
    if output == "json":
        click.echo(canonical_bytes(_value(found, names)))
        return
    for line in _lines(found, names):
        click.echo(line)


def _join(found: Live, tool: tuple[str, ...]) -> None:
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        raise click.UsageError("found no nsenter, want the one of util-linux")
    joined = [option for kind, option in _JOINED.items() if kind in found.separate]
    os.execv(nsenter, [nsenter, "--target", str(found.pid), *joined, "--", *tool])  # noqa: S606  # what was asked


def _value(found: Live, names: Mapping[int, str]) -> dict[str, JsonValue]:
    value: dict[str, Any] = asdict(found)
    value["files"] = {str(number): target for number, target in found.files.items()}
    for thread, written in zip(found.threads, value["threads"], strict=True):
        if thread.call is not None:
            call = thread.call
            written["call"] = {
                "name": names.get(call.number, str(call.number)),
                "arguments": [hex(one) for one in call.arguments],
                "decoded": {str(place): text for place, text in call.decoded.items()},
                "address": hex(call.address),
            }
    return value


def _lines(found: Live, names: Mapping[int, str]) -> list[str]:
    memory = ", ".join(f"{name} {kilobytes} kB" for name, kilobytes in found.memory.items())
    return [
        f"process {found.pid}: {found.program}",
        f"arguments: {' '.join(found.arguments)}",
        f"user: {found.users[1]}"
        + (f", really {found.users[0]}" if found.users[0] != found.users[1] else ""),
        f"memory: {memory}",
        f"namespaces of its own: {', '.join(found.separate) or 'none'}",
        f"cgroup: {found.cgroup or 'none'}",
        *([f"traced by: {found.tracer}"] if found.tracer else []),
        f"threads: {len(found.threads)}",
        *(line for thread in found.threads for line in _thread(thread, names)),
        f"open files: {len(found.files)}",
        *(f"  {number:>3} {target}" for number, target in found.files.items()),
    ]


def _thread(thread: LiveThread, names: Mapping[int, str]) -> list[str]:
    filters = "?" if thread.filters is None else thread.filters
    privileges = "no new privileges" if thread.no_new_privs else "may gain privileges"
    first = f"  {thread.tid} {thread.name}: {thread.state}, {filters} filters, {privileges}"
    if thread.call is None:
        return [first]
    call = thread.call
    arguments = ", ".join(call.decoded.get(place, hex(word)) for place, word in enumerate(call.arguments))
    return [first, f"      {names.get(call.number, call.number)}({arguments}), back at {call.address:#x}"]
