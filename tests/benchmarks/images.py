"""
How small is the image of a program, how fast is it built, and how fast does it start?

Beside each image the tree that ldd would copy: the program and its DT_NEEDED libraries, without certificates,
name services and whatever else is only opened.  `python -m tests.benchmarks.images` prints this alone.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMAND = "from shim.cli.main import main; main()"
C = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
GO = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n'
RUST = 'fn main() { println!("hello"); }\n'
# What was built for nginx takes the analysis from the cache.
INSTALLED = {
    "busybox": ["/usr/bin/busybox"],
    "redis": ["/usr/bin/redis-server"],
    "nginx": ["/usr/sbin/nginx"],
    "curl": ["/usr/bin/curl"],
    "git": ["/usr/bin/git"],
}
PYTHON = "/usr/bin/python3.11"
LIBRARY = "/usr/lib/python3.11"
# PEERS.md has their sources; megabytes, compressed.
PUBLISHED = {
    "Alpine base": 5,
    "Chiseled Ubuntu": 5,
    "Wolfi static": 2,
    "distroless static": 2,
    "distroless base": 17,
    "UBI Micro": 25,
}


def measure() -> dict[str, Any]:
    """
    Return rows by program: bytes of the image, of what the shim adds, of the layer, of the ldd tree; seconds.

    What cannot be measured here is named under "skipped".
    """
    rows: dict[str, dict[str, Any]] = {}
    skipped: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        programs = _programs(work, skipped)
        for name, arguments in programs.items():
            rows[name] = _row(work / f"{name}.image", arguments, work / "cache")
        starts = _starts(work, rows, skipped)
    return {"rows": rows, "starts": starts, "skipped": skipped, "published, MB": PUBLISHED}


def _programs(work: Path, skipped: list[str]) -> dict[str, list[str]]:
    """Return the arguments of `shim build` for each program that can be had here."""
    made = {
        "hello, musl": (["musl-gcc", "-Os", "-s", "-static", "-o", "OUT", "hello.c"], C, "hello.c"),
        "hello, glibc": (["gcc", "-Os", "-s", "-static", "-o", "OUT", "hello.c"], C, "hello.c"),
        "hello, Go": (["go", "build", "-ldflags=-s -w", "-o", "OUT", "hello.go"], GO, "hello.go"),
        "hello, Rust": (["rustc", "-O", "-Cstrip=symbols", "-o", "OUT", "hello.rs"], RUST, "hello.rs"),
    }
    found: dict[str, list[str]] = {}
    for name, (command, source, file) in made.items():
        target = work / "programs" / name.replace(", ", "-")
        target.parent.mkdir(exist_ok=True)
        (work / file).write_text(source)
        filled = [str(target) if word == "OUT" else word for word in command]
        environment = {**os.environ, "CGO_ENABLED": "0"}
        if (
            shutil.which(command[0]) is None
            or subprocess.run(filled, cwd=work, env=environment, capture_output=True, check=False).returncode
        ):
            skipped.append(f"{name}: {command[0]} does not work here")
        else:
            found[name] = [str(target)]
    for name, arguments in INSTALLED.items():
        if Path(arguments[0]).exists():
            found[name] = arguments
        else:
            skipped.append(f"{name}: {arguments[0]} is not installed")
    if Path(PYTHON).exists():
        script = work / "app.py"
        script.write_text("print('hello')\n")
        library = ["--modules", f"{LIBRARY}/lib-dynload", "--include", LIBRARY]
        left_out = [
            f"--exclude={pattern}"
            for pattern in ("*/__pycache__", "*/test", f"{LIBRARY}/config-*", f"{LIBRARY}/dist-packages")
        ]
        found["Python script"] = [
            *library,
            *left_out,
            "--include",
            f"{script}:/app.py",
            PYTHON,
            "-S",
            "/app.py",
        ]
    return found


def _row(image: Path, arguments: list[str], cache: Path) -> dict[str, Any]:
    cold = _built(image, ["--format", "rootfs", *arguments], cache)
    files = [path for path in image.rglob("*") if path.is_file() and not path.is_symlink()]
    whole = sum(path.stat().st_size for path in files)
    own = sum(path.stat().st_size for path in files if path.parent == image / "shim")
    times = {}
    sizes = {}
    for how, level in (("gzip", "6"), ("zstd", "19")):
        layout = image.with_suffix(f".{how}")
        times[how] = _built(layout, ["--compress", how, "--level", level, *arguments], cache)
        sizes[how] = max(path.stat().st_size for path in (layout / "blobs/sha256").iterdir())
    program = next(
        word
        for word in arguments
        if word.startswith("/") and os.access(word, os.X_OK) and Path(word).is_file()
    )
    copied = _ldd(program)
    return {
        "KB": whole // 1000,
        "of that the shim's": own // 1000,
        "gzip KB": sizes["gzip"] // 1000,
        "zstd KB": sizes["zstd"] // 1000,
        "ldd KB": sum(map(len, copied)) // 1000,
        "ldd gzip KB": len(gzip.compress(b"".join(copied), 6)) // 1000,
        "cold s": round(cold, 2),
        "warm s": round(times["gzip"], 2),
    }


def _built(target: Path, arguments: list[str], cache: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", COMMAND, "build", "-o", str(target), *arguments],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - started


def _ldd(program: str) -> list[bytes]:
    """Return the program and what ldd lists for it."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    names = {program, *re.findall(r"(/\S+) \(0x", done.stdout)} if done.returncode == 0 else {program}
    return [Path(path).read_bytes() for path in sorted({os.path.realpath(name) for name in names})]


def _starts(work: Path, rows: dict[str, dict[str, Any]], skipped: list[str]) -> dict[str, float]:
    """Return the milliseconds from an OCI layout on disk to the end of the program, unpacked and under runc."""
    if shutil.which("umoci") is None or shutil.which("runc") is None or os.geteuid() != 0:
        skipped.append("cold start: it takes umoci, runc and root")
        return {}
    found = {}
    for name in rows:
        if not name.startswith("hello"):
            continue
        times = [_start(work / f"{name}.gzip", work / f"bundle-{number}", number) for number in range(5)]
        if None in times:
            skipped.append(f"cold start of {name}: runc does not work here")
        else:
            found[name] = round(min(seconds for seconds in times if seconds is not None) * 1000, 1)
        for number in range(5):
            shutil.rmtree(work / f"bundle-{number}", ignore_errors=True)
    return found


def _start(layout: Path, bundle: Path, number: int) -> float | None:
    started = time.perf_counter()
    subprocess.run(["umoci", "--log=error", "unpack", "--image", f"{layout}:latest", str(bundle)], check=True)
    unpacked = time.perf_counter() - started
    config = bundle / "config.json"
    value = json.loads(config.read_text())
    value["process"]["terminal"] = False
    config.write_text(json.dumps(value))
    started = time.perf_counter()
    name = f"shim-bench-{os.getpid()}-{number}"
    done = subprocess.run(["runc", "run", name], cwd=bundle, capture_output=True, check=False)
    return unpacked + time.perf_counter() - started if done.stdout == b"hello\n" else None


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
