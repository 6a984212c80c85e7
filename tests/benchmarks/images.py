"""
How small is the image of a program, how fast is it built, and how fast does it start?

Beside each image the tree that ldd would copy: the program and its DT_NEEDED libraries, without certificates,
name services and whatever else is only opened; and Debian's smallest system with the program's package.
`python -m tests.benchmarks.images` prints this alone.
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

from tests.benchmarks import minbase, starts

COMMAND = "from shim.cli.main import main; main()"
C = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
GO = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n'
RUST = 'fn main() { println!("hello"); }\n'
JAVA = 'class Hello { public static void main(String[] texts) { System.out.println("hello"); } }\n'
# What was built for nginx takes the analysis from the cache.
INSTALLED = {
    "busybox": ["/usr/bin/busybox"],
    "redis": ["/usr/bin/redis-server"],
    "nginx": ["/usr/sbin/nginx"],
    "curl": ["/usr/bin/curl"],
    "git": ["/usr/bin/git"],
}
# What makes an image smaller and is not done unasked.
SMALLEST = ("--trim", "--assume", "no-idn")
PYTHON = "/usr/bin/python3.11"
LIBRARY = "/usr/lib/python3.11"
# What comes out first, where something does before somebody connects.
SAYS = {
    **dict.fromkeys(
        ("hello, musl", "hello, glibc", "hello, Go", "hello, Rust", "Python script", "Java program"),
        b"hello\n",
    ),
    "busybox": b"BusyBox v",
    "redis": b"Redis is starting",
    "curl": b"curl: try",
    "git": b"usage: git",
}
# What their makers say, compressed, in MB; where they give a range, its lower end.
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
        started = _peers(work, programs, rows, skipped)
    return {"rows": rows, "starts": started, "skipped": skipped, "published, MB": PUBLISHED}


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
    java = _java(work)
    if java:
        found["Java program"] = java
    else:
        skipped.append("Java program: jlink and javac do not work here")
    return found


def _java(work: Path) -> list[str]:
    """Return the arguments for a program on a runtime of its own, made by jlink; none where that fails."""
    runtime = work / "runtime"
    (work / "Hello.java").write_text(JAVA)
    commands = (
        ["jlink", "--add-modules", "java.base", "--strip-debug", "--no-man-pages", "--no-header-files",
         "--output", str(runtime)],
        ["javac", "-d", str(work / "classes"), "Hello.java"],
    )  # fmt: skip
    for command in commands:
        if shutil.which(command[0]) is None:
            return []
        if subprocess.run(command, cwd=work, capture_output=True, check=False).returncode:
            return []
    included = ["--include", str(runtime), "--include", f"{work / 'classes'}:/classes"]
    left_out = [f"--exclude={runtime}/legal", f"--exclude={runtime}/lib/jexec"]
    return [
        "--modules",
        f"{runtime}/lib",
        *included,
        *left_out,
        f"{runtime}/bin/java",
        "-cp",
        "/classes",
        "Hello",
    ]


def _row(image: Path, arguments: list[str], cache: Path) -> dict[str, Any]:
    cold = _built(image, ["--format", "rootfs", *arguments], cache)
    files = [path for path in image.rglob("*") if path.is_file() and not path.is_symlink()]
    whole = sum(path.stat().st_size for path in files)
    own = sum(path.stat().st_size for path in files if path.parent == image / "shim")
    times = {}
    sizes: dict[str, int] = {}
    refused = ""
    for name, how, level in (("gzip", "gzip", "6"), ("zstd", "zstd", "19"), ("trimmed", "zstd", "19")):
        layout = image.with_suffix(f".{name}")
        options = ["--compress", how, "--level", level, *(SMALLEST if name == "trimmed" else [])]
        try:
            times[name] = _built(layout, [*options, *arguments], cache)
        except subprocess.CalledProcessError as error:
            if name != "trimmed":
                raise
            refused = error.stderr.decode().strip()  # code in the image that was not analysed
            continue
        sizes[name] = max(path.stat().st_size for path in (layout / "blobs/sha256").iterdir()) // 1000
    copied = _ldd(_command(arguments)[0])
    return {
        "KB": whole // 1000,
        "of that the shim's": own // 1000,
        "gzip KB": sizes["gzip"],
        "zstd KB": sizes["zstd"],
        "trimmed zstd KB": sizes.get("trimmed"),
        "not trimmed": refused,
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


def _peers(
    work: Path, programs: dict[str, list[str]], rows: dict[str, dict[str, Any]], skipped: list[str]
) -> dict[str, dict[str, Any]]:
    """Put sizes of Debian's smallest system with each program into its row; return how fast both start."""
    no_peer, no_start = minbase.missing(), starts.missing()
    skipped += [f"minbase: {no_peer}"] if no_peer else []
    skipped += [f"cold starts: {no_start}"] if no_start else []
    found: dict[str, dict[str, Any]] = {}
    for name, arguments in programs.items():
        command = _command(arguments)
        peer = None if no_peer else _peer(name, command, work, skipped)
        if peer is not None:
            rows[name] |= {"minbase KB": peer.whole // 1000, "minbase gzip KB": peer.packed // 1000}
        if no_start or name not in SAYS:
            continue
        found[name] = {"shim": starts.fastest(work / f"{name}.gzip", work, 5, SAYS[name])}
        if peer is not None:
            minbase.write_layout(peer, _placed(command), work / "peer")
            found[name]["minbase"] = starts.fastest(work / "peer", work, 2, SAYS[name])
            shutil.rmtree(work / "peer")
        skipped += [
            f"cold start of {name}, {by}: not what it says outside"
            for by, row in found[name].items()
            if not row
        ]
    return found


def _peer(name: str, command: list[str], work: Path, skipped: list[str]) -> minbase.Peer | None:
    """Return the system with the package of a program, or with the program as a file; with a script, too."""
    if name == "Java program":
        skipped.append(f"minbase with {name}: its runtime is a folder")
        return None
    owner = subprocess.run(["dpkg", "-S", command[0]], capture_output=True, text=True, check=False)
    try:
        peer = minbase.system(owner.stdout.partition(":")[0])
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        skipped.append(f"minbase with {name}: {error}")
        return None
    if owner.returncode:
        return minbase.with_file(peer, Path(command[0]), _placed(command)[0], work)
    return minbase.with_file(peer, work / "app.py", "/app.py", work) if "/app.py" in command else peer


def _command(arguments: list[str]) -> list[str]:
    """Return the program and its arguments without the options of `shim build`."""
    at = next(n for n, word in enumerate(arguments) if os.access(word, os.X_OK) and Path(word).is_file())
    return arguments[at:]


def _placed(command: list[str]) -> list[str]:
    """Return a command as it is in an image: what was made here is put below the root."""
    made = not command[0].startswith("/usr/")
    return [f"/{Path(command[0]).name}", *command[1:]] if made else command


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
