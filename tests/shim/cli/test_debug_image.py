"""`shim debug IMAGE`, and what it shows of a program that runs out of one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import layouts
from tests.shim.cli.test_images import (
    place as place,  # noqa: PLC0414  # a fixture
    shim,
    signed,
    write_policy,
)
from tests.shim.cli.test_profile_image import ENTRY, built, outer_of
from tests.shim.conftest import need
from tests.shim.containers import command_of, contained, write_config

Compile = Callable[..., bytes]
# Makes a call that its profile lacks, says so, and stays.
STAYING = """
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    unsigned char code[] = {0xb8, 110, 0, 0, 0, 0x0f, 0x05, 0xc3};
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof(code));
    ((long (*)(void))page)();
    puts("here");
    fflush(stdout);
    pause();
    return 0;
}
"""
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"


@pytest.fixture(scope="module")
def image(compile_c: Compile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a dynamic program that stays."""
    place = tmp_path_factory.mktemp("staying")
    options = (
        "--on-violation",
        "errno",
        "--env",
        "A=b",
        "--limit",
        "nofile=64",
        "--directory",
        "/data",
        "--ro",
        "/data",
    )
    return built(place, compile_c(STAYING), *options, arguments=("one",))


def test_what_is_in_it_and_what_its_plan_says(image: Path) -> None:
    done = shim(image, "debug", "img")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for said in (
        "trust: every byte is what names it; who made it was not asked (--image-policy FILE)",
        "attached: nothing: no signature, no SBOM, no provenance",
        "  arguments: /program one; further ones are appended",
        "  environment: A=b",
        "  a refused call: it fails with EPERM, and is reported",
        "  limits: nofile 64:64",
        "    but /data: read-file, read-dir",
    ):
        assert said in lines, done.stdout
    assert any(line.startswith("  measured: /") and "libc.so.6 sha256:" in line for line in lines)
    assert any(line.startswith("  from 0x") and "pinned to their places" in line for line in lines)
    assert not any(line.startswith("wrong") for line in lines)
    assert any("/program  (program)" in line for line in lines)


def test_the_same_as_json(image: Path) -> None:
    said = json.loads(shim(image, "debug", "--format", "json", "img").stdout)
    assert said["plan"]["further_arguments"] == "appended"
    names = {one["path"]: one for one in said["files"]}
    assert names["/shim/plan"]["reason"]["rule"] == "shim"
    assert names["/program"]["sha256"] == said["plan"]["sha256"]
    assert "getppid" not in said["plan"]["filters"][-1]["calls"]
    assert said["problems"] == []


def test_one_file(image: Path) -> None:
    done = shim(image, "debug", "img", "--file", "lib64/ld-linux-x86-64.so.2")
    assert done.returncode == 0, done.stderr
    assert "interpreter" in done.stdout or "link" in done.stdout
    assert shim(image, "debug", "img", "--file", "/program", "-o", "taken").returncode == 0
    assert (image / "taken").read_bytes() == (image / "program").read_bytes()
    for path, said in (
        ("/none", "found nothing, want a path in the image"),
        ("../../etc/passwd", "found nothing"),
    ):
        done = shim(image, "debug", "img", "--file", path)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
    done = shim(image, "debug", "img", "--file", "/proc", "-o", "other")
    assert (done.returncode, (image / "other").exists()) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("img", "--", "ls"), "found a tool beside an image, want a PID"),
        (("img", "-o", "x"), "found -o without --file"),
        (("img", "--image-bundle", "x"), "found --image-bundle alone, want --image-policy FILE"),
        (("1", "--file", "x"), "found no image (a folder with oci-layout)"),
        (("none",), "found 'none', want the folder of an image, or the number of a process"),
        (("0",), "found '0', want"),
    ],
)
def test_what_cannot_be_meant(image: Path, arguments: tuple[str, ...], said: str) -> None:
    done = shim(image, "debug", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_who_vouches_for_it(image: Path, place: Path) -> None:
    shutil.rmtree(place / "img")
    shutil.copytree(image / "img", place / "img")
    done = shim(place, "debug", "img", "--image-policy", "policy.toml")
    assert (done.returncode, done.stdout) == (11, "")
    assert signed(place)[0] == 0
    write_policy(place, {"provenance.keys": ["release.pub"], "provenance.inputs": "unchecked"})
    done = shim(place, "debug", "img", "--image-policy", "policy.toml")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"trust: accepted; signed by release.pub as {layouts.IDENTITY} version 7" in lines
    assert "provenance: built by https://build.example/ci" in lines
    assert "attached: SBOM (1): application/vnd.cyclonedx+json" in lines
    assert any(line.startswith("attached: provenance (1): ") for line in lines)
    assert not (place / "versions.json").exists()
    write_policy(place, {"version.minimum": 8, "provenance": "unchecked"})
    done = shim(place, "profile", "img", "--image-policy", "policy.toml", "--format", "oci")
    assert (done.returncode, done.stdout) == (16, "")
    assert "version: found 7, want at least 8" in done.stderr


HOSTILE: dict[str, tuple[dict[str, bytes | str], str]] = {
    "a plan that is none": ({"shim/plan": b"plan"}, "plan"),
    "no plan": ({"shim/launch": b"x"}, "found no launcher with a plan"),
    "a launcher that is a link": (
        {"shim/launch": "plan", "shim/plan": b"x"},
        "found no launcher with a plan",
    ),
    "a path that leads out": (
        {"shim/launch": b"x", "shim/plan": b"x", "../../x": b"x"},
        "leads out of the image",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_images_end_in_one_line(tmp_path: Path, name: str) -> None:
    files, said = HOSTILE[name]
    layouts.write(layouts.layout(("amd64", (layouts.tar(files),))), tmp_path / "img")
    for command in (("debug",), ("profile",)):
        done = shim(tmp_path, *command, "img")
        assert done.returncode != 0
        assert done.stdout == ""
        if command == ("debug",) or "leads out" not in said:
            assert said in done.stderr, done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["img"]


def test_of_several_platforms_it_is_this_machines(image: Path, tmp_path: Path) -> None:
    """And one that is for another machine is seen where it is the only one."""
    bundle = image / "bundle/rootfs"
    files: dict[str, bytes | str] = {
        name: (bundle / name).read_bytes() for name in ("shim/launch", "shim/plan")
    }
    ours, theirs = layouts.tar({**files, "ours": b"x"}), layouts.tar({**files, "theirs": b"x"})
    layouts.write(layouts.layout(("amd64", (ours,)), ("arm64", (theirs,))), tmp_path / "both")
    layouts.write(layouts.layout(("arm64", (theirs,))), tmp_path / "one")
    layouts.write(layouts.layout(("arm64", (theirs,)), ("riscv64", (ours,))), tmp_path / "none")
    for name, found in (("both", "ours"), ("one", "theirs")):
        done = shim(tmp_path, "debug", name)
        assert f"/{found}" in done.stdout, done.stderr
        assert shim(tmp_path, "profile", "--format", "names", name).returncode == 0
    for command in ("debug", "profile"):
        done = shim(tmp_path, command, "none")
        assert done.returncode == 10
        assert "found images for linux/arm64, linux/riscv64, want one for this machine, x86_64" in done.stderr


def test_what_the_manifest_does_not_say_and_escapes(image: Path, tmp_path: Path) -> None:
    """An image with a real plan, and files that its manifest does not know, is otherwise or lacks."""
    plan = (image / "bundle/rootfs/shim/plan").read_bytes()
    manifest = json.loads((image / "bundle/rootfs/shim/manifest.json").read_bytes())
    files: dict[str, bytes | str] = {
        "shim/launch": b"other launcher",
        "shim/plan": plan + bytes(8),
        "shim/manifest.json": json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode(),
        "\x1b[2Jevil": b"x",
        "b\udcffad": b"x",
        "program": b"",
    }
    layouts.write(layouts.layout(("amd64", (layouts.tar(files),))), tmp_path / "img")
    assert shim(tmp_path, "debug", "img").returncode != 0  # a plan with something behind it
    files["shim/plan"] = plan
    layouts.write(layouts.layout(("amd64", (layouts.tar(files),))), tmp_path / "img2")
    done = shim(tmp_path, "debug", "img2")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    said = json.loads(shim(tmp_path, "debug", "--format", "json", "img2").stdout)
    assert "/b\\xffad" in [one["path"] for one in said["files"]]
    assert "\\x1b[2Jevil  (not in the manifest)" in done.stdout
    assert "wrong: /proc: the manifest names it, and it is not there" in done.stdout
    row = next(line for line in done.stdout.splitlines() if " /shim/launch  (" in line)
    assert "  wrong: sha256 " in row


def test_a_program_of_an_image_in_a_container(image: Path) -> None:
    """Its launcher, its events where they can be read, and tools beside it that see its processes."""
    contained("runc", image / "bundle", ENTRY[:1], None)  # skips where it runs nothing
    write_config(image / "bundle", ENTRY, outer_of(image))
    need("nsenter")
    said = image / "said"
    with said.open("wb") as out:
        container = subprocess.Popen(
            command_of("runc", image / "bundle", f"shim-debug-{os.getpid()}"), stdout=out, stderr=out
        )
    try:
        until(lambda: b"here\n" in said.read_bytes())
        pid = program_of(container.pid)
        done = shim(image, "debug", str(pid))
        assert done.returncode == 0, done.stderr
        assert "3 filters, no new privileges" in done.stdout
        assert "      pause(" in done.stdout
        assert ": /shim/launch /shim/plan\n" in done.stdout
        found = json.loads(shim(image, "debug", "--format", "json", str(pid)).stdout)
        assert pid in found["launcher"]["programs"]
        assert set(found["separate"]) >= {"mnt", "pid", "uts"}
        beside = shim(image, "debug", str(pid), "--", "cat", "/proc/1/cmdline")
        assert beside.stdout == "/shim/launch\0/shim/plan\0", beside.stderr
        launcher = shim(image, "debug", str(found["launcher"]["pid"]))
        assert f"launcher: this process; its program is process {pid}" in launcher.stdout
    finally:
        subprocess.run(
            ["runc", "--root", str(image / "bundle" / "state"), "kill", f"shim-debug-{os.getpid()}", "KILL"],
            check=False,
        )
        container.wait(timeout=20)


def program_of(pid: int) -> int:
    """Return the last process in the line of descendants: runc, the launcher, the program."""
    until(lambda: Path(f"/proc/{last_of(pid)}/exe").readlink().name == "program")
    return last_of(pid)


def last_of(pid: int) -> int:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return last_of(children[-1]) if children else pid


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
