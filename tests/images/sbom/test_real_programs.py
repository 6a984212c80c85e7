"""From a program to all its documents: nothing between the compiler and OpenVEX is made up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from images.packages.inventory import inventory, shim_package, with_made
from images.packages.package import Inventory
from images.packages.scannable import scanner_files
from images.sbom.documents import documents, exploitability
from images.sbom.subject import Subject
from shim.analysis.execute_path import execute_path
from shim.elf.files import RootedFiles
from tests.fakes.roots import dpkg, image_file, image_files, stanza

SUBJECT = Subject("made", "1", "ab" * 32, "Some Body", "Some One", 1_700_000_000, "0.1.0")
TOOL = shim_package("0.1.0")
C = """
__attribute__((noinline)) int risky(int x) { return x * 5; }
__attribute__((noinline)) int safe(int x) { return x * 3; }
int main(int count, char **words) { (void)words; return safe(count); }
"""
GO_DEPENDENCY = """package dep

//go:noinline
func Kept(x int) int { return x * 3 }

func Copied(x int) int { return x + 1 }

func Dropped(x int) int { println("never"); return x }
"""
GO = """package main

import (
\t"os"

\t"example.com/dep"
)

func main() { os.Exit(dep.Kept(dep.Copied(len(os.Args)))) }
"""


def statuses(records: list[dict[str, object]], found: Inventory, program: Path) -> dict[str, str]:
    path = execute_path(program.read_bytes(), str(program), files=RootedFiles("/"))
    made = exploitability({"x": json.dumps(records).encode()}, found, SUBJECT, path, whole_functions=True)
    return {one.vulnerability: one.justification or str(one.status) for one in made.statements}


@pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="no musl-gcc here")
def test_a_c_program(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(C)
    subprocess.run(["musl-gcc", "-O1", "-static", "-o", "p", "p.c"], cwd=tmp_path, check=True)
    dpkg(tmp_path, (stanza(), {"/p": (tmp_path / "p").read_bytes()}))
    found = inventory(image_files(tmp_path, ["/p"]), RootedFiles(str(tmp_path)), TOOL)
    package = {"ecosystem": "Debian:12", "name": "made-source"}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
    records: list[dict[str, object]] = [
        {
            "id": name,
            "affected": [{"package": package, "ranges": ranges, "ecosystem_specific": {"symbols": [name]}}],
        }
        for name in ("risky", "safe", "absent")
    ]
    assert statuses(records, found, tmp_path / "p") == {
        "risky": "vulnerable_code_not_in_execute_path",
        "safe": "under_investigation",
        "absent": "under_investigation",
    }


@pytest.mark.skipif(shutil.which("go") is None, reason="no go here")
def test_a_go_program(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text(
        "module example.com/p\n\ngo 1.19\n\nrequire example.com/dep v1.2.3\n\nreplace example.com/dep v1.2.3 => ./dep\n"
    )
    (tmp_path / "main.go").write_text(GO)
    (tmp_path / "dep").mkdir()
    (tmp_path / "dep/go.mod").write_text("module example.com/dep\n")
    (tmp_path / "dep/dep.go").write_text(GO_DEPENDENCY)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GOPROXY": "off", "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}  # fmt: skip
    subprocess.run(["go", "build", "-o", "p", "."], cwd=tmp_path, env=environment, check=True)
    found = inventory(image_files(tmp_path, ["/p"]), RootedFiles(str(tmp_path)), TOOL)
    # The linker keeps the import path, also of a module in whose place a folder stands.
    records: list[dict[str, object]] = [
        {
            "id": name,
            "affected": [
                {
                    "package": {"ecosystem": "Go", "name": "example.com/dep"},
                    "ecosystem_specific": {"imports": [{"path": "example.com/dep", "symbols": [name]}]},
                }
            ],
        }
        for name in ("Kept", "Copied", "Dropped")
    ]
    assert statuses(records, found, tmp_path / "p") == {
        "Kept": "under_investigation",
        "Copied": "under_investigation",
        "Dropped": "vulnerable_code_not_in_execute_path",
    }


def test_files_that_are_made_are_in_the_documents(tmp_path: Path) -> None:
    dpkg(tmp_path, (stanza(), {"/p": b"x"}))
    found = inventory(image_files(tmp_path, ["/p"]), RootedFiles(str(tmp_path)), TOOL)
    made = [image_file(path, data) for path, data in scanner_files(found)]
    complete = with_made(found, made, TOOL)
    names = {file["fileName"] for file in json.loads(documents(complete, SUBJECT, check=True).spdx)["files"]}
    assert names == {
        "./p",
        "./etc/os-release",
        "./var/lib/dpkg/status.d/made",
        "./var/lib/dpkg/status.d/made.md5sums",
    }
    assert TOOL in complete.packages
    assert with_made(found, [], TOOL) == found


@pytest.mark.parametrize("missing", ["spdx_tools", "cyclonedx", "packageurl", "univers"])
def test_a_missing_library_is_named(missing: str) -> None:
    script = f"""
import sys
sys.modules[{missing!r}] = None
from images.packages.errors import MissingLibraryError
from images.packages.package import Inventory
from images.sbom.documents import documents, exploitability
from images.sbom.subject import Subject
nothing, subject = Inventory((), (), (), None), Subject("x", "1", "ab" * 32, "", "", 1, "0")
for make in (lambda: documents(nothing, subject, check=False), lambda: exploitability({{}}, nothing, subject, None)):
    try:
        make()
    except MissingLibraryError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert f"{missing}" in done.stdout
    assert "pip install 'tee-shim[sbom]'" in done.stdout
