"""
`shim debug`: what is in this image, what is this program doing?

Seen from outside; nothing of the tool has to be in an image.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.cli.arguments import FORMAT
from shim.cli.image_parts import is_layout, trust_options

if TYPE_CHECKING:
    from shim.canonical import JsonValue
    from shim.launch.launched import Launched
    from shim.launch.live import Live, LiveThread

# The program's own files stay where they are: the tools come from the host's.
_JOINED = {"net": "--net", "ipc": "--ipc", "uts": "--uts", "pid": "--pid"}


@click.command("debug", context_settings={"ignore_unknown_options": True})
@click.argument("subject", metavar="IMAGE|PID")
@click.argument("tool", nargs=-1, type=click.UNPROCESSED)
@click.option("--file", "path", metavar="PATH", help="Of an image: show one file, or with -o write it out.")
@click.option("-o", "--output", "target", metavar="FILE", help="With --file: write what it holds there.")
@trust_options
@FORMAT
def command(  # noqa: PLR0913  # one parameter for each option
    *,
    subject: str,
    tool: tuple[str, ...],
    path: str | None,
    target: str | None,
    image_policy: Path | None,
    image_bundle: tuple[Path, ...],
    output: str,
) -> None:
    """
    Show what is in IMAGE, a folder with oci-layout, or what process PID is doing.

    Of an image: every file with size, package and reason, its launch plan with the calls it allows, who
    vouches for it and what is attached.  Nothing of it runs.

    Of a process: the syscall that each thread waits in, its filters, files, memory, and what was reported of
    it.  With a TOOL (behind --) that runs instead, on the host's files, but in the program's network,
    processes, IPC and host name: `shim debug 1234 -- ss -tlnp`. The program's files are in /proc/PID/root,
    PID being its number there where it has processes of its own (`shim debug 1234 -- ps -e`).

    Exit codes: 0 shown; 1 no such process or file, or it may not be looked at; of an image as verify-image;
    with a TOOL, as the tool.
    """
    if is_layout(subject):
        if tool:
            raise click.UsageError("found a tool beside an image, want a PID: nothing of an image runs here")
        _image(subject, path, target, image_policy, image_bundle, output)
        return
    if path is not None or target is not None or image_policy is not None or image_bundle:
        raise click.UsageError(
            f"{subject}: found no image (a folder with oci-layout), want one for --file and the like"
        )
    if not subject.isdecimal() or not int(subject):
        raise click.UsageError(f"found {subject!r}, want the folder of an image, or the number of a process")
    _process(int(subject), tool, output)


def _image(  # as the options have it
    subject: str,
    path: str | None,
    target: str | None,
    policy: Path | None,
    bundles: tuple[Path, ...],
    output: str,
) -> None:
    from shim.canonical import canonical_bytes
    from shim.cli import debug_image, debug_image_lines

    if target is not None and path is None:
        raise click.UsageError("found -o without --file, want --file PATH: which one is to be written?")
    found = debug_image.view(subject, policy, bundles)
    if path is None:
        if output == "json":
            click.echo(canonical_bytes(debug_image.value(found)))
        else:
            debug_image_lines.echo(debug_image_lines.lines(found))
        return
    one = debug_image.one_file(found, path)
    if target is not None:
        from shim.cli.files import write_output

        write_output(target, found.layers.content(one.path).read())
    elif output == "json":
        click.echo(canonical_bytes(debug_image.file_value(one)))
    else:
        debug_image_lines.echo(debug_image_lines.file_lines(one))


def _process(pid: int, tool: tuple[str, ...], output: str) -> None:
    from shim.canonical import canonical_bytes
    from shim.launch.launched import launcher_of
    from shim.launch.live import look
    from shim.syscalls import table

    names = table("x86_64").names
    found = look(Path("/proc"), pid, names)
    if tool:
        _join(found, tool)
    launcher = launcher_of(Path("/proc"), pid, names)
    if output == "json":
        said = _value(found, names) | {"launcher": None if launcher is None else _launcher_value(launcher)}
        click.echo(canonical_bytes(said))
        return
    for line in (*_lines(found, names), *_reported(launcher, pid)):
        click.echo(line)


def _join(found: Live, tool: tuple[str, ...]) -> None:
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        raise click.UsageError("found no nsenter, want the one of util-linux")
    joined = [option for kind, option in _JOINED.items() if kind in found.separate]
    # Tools look into /proc, which the host's own is not for processes of another namespace.
    with_proc = ["unshare", "--mount-proc", "--"] if "pid" in found.separate else []
    os.execv(nsenter, [nsenter, "--target", str(found.pid), *joined, "--", *with_proc, *tool])  # noqa: S606  # asked


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


def _launcher_value(launcher: Launched) -> dict[str, JsonValue]:
    value: dict[str, Any] = asdict(launcher)
    return value


def _reported(launcher: Launched | None, pid: int) -> list[str]:
    """Return who answers for the refused calls of a process, and what was reported of it."""
    if launcher is None:
        return ["launcher: none that shows: no ancestor answers for refused calls"]
    programs = ", ".join(map(str, launcher.programs)) or "none"
    itself = f"this process; its program is process {programs}" if launcher.pid == pid else "process "
    first = f"launcher: {itself}" + (
        "" if launcher.pid == pid else f"{launcher.pid}: {' '.join(launcher.arguments)}"
    )
    if launcher.reports is None:
        return [first, "reports: may not be looked at; ask as root"]
    lines = [first, f"reports: to {', '.join(launcher.reports) or 'nowhere: its standard error is closed'}"]
    if not launcher.events:
        return [*lines, "events: none that can be read there"]
    lines.append(f"events: the last {len(launcher.events)}")
    for one in launcher.events:
        by = f" by process {one.pid}" if one.pid else ""
        lines.append(f"  {one.time}: {one.call}({', '.join(one.arguments)}) from {one.address}{by}")
    return lines


def _thread(thread: LiveThread, names: Mapping[int, str]) -> list[str]:
    filters = "?" if thread.filters is None else thread.filters
    privileges = "no new privileges" if thread.no_new_privs else "may gain privileges"
    first = f"  {thread.tid} {thread.name}: {thread.state}, {filters} filters, {privileges}"
    if thread.call is None:
        return [first]
    call = thread.call
    arguments = ", ".join(call.decoded.get(place, hex(word)) for place, word in enumerate(call.arguments))
    return [first, f"      {names.get(call.number, call.number)}({arguments}), back at {call.address:#x}"]
