"""Other tools take our layouts in and run what is in them: buildah, podman, and crun, each with its own rules."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.shim.conftest import need

ROOT = Path(__file__).resolve().parents[2]
Compile = Callable[..., bytes]
COMMAND = (sys.executable, "-c", "from shim.cli.main import main; main()", "build")
HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 7; }\n'
# Answers what it is sent, with the port that it was given in its plan.
SERVER = """
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int count, char **texts)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo("127.0.0.1", texts[1], &hints, &found))
        return 3;
    int one = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, found->ai_addr, found->ai_addrlen) || listen(server, 1))
        return 4;
    for (;;) {
        char word[64] = "answer ";
        int client = accept(server, NULL, NULL);
        if (client < 0)
            return 5;
        long size = read(client, word + 7, sizeof word - 7);
        if (size > 0 && write(client, word, size + 7) < 0)
            return 6;
        close(client);
    }
}
"""


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory, compile_c: Compile) -> dict[str, Path]:
    """Layouts of the two programs; the server's tag is its port."""
    if os.geteuid() != 0:
        pytest.skip("runtimes of containers take root here")
    work = tmp_path_factory.mktemp("layouts")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    made = {}
    for name, source, arguments in (("hello", HELLO, []), ("server", SERVER, [port])):
        program = work / name
        program.write_bytes(compile_c(source))
        program.chmod(0o755)
        layout = work / f"{name}.layout"
        tag = port if arguments else "latest"
        environment = {**os.environ, "XDG_CACHE_HOME": str(work), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*COMMAND, "-o", str(layout), "--tag", tag, str(program), *arguments],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        made[name] = layout
        if arguments:
            made["port"] = Path(port)
    return made


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Options for a storage of images of its own, without the kernel's file systems."""
    place = tmp_path_factory.mktemp("storage")
    # podman takes no path of more than 50 characters there.
    with tempfile.TemporaryDirectory(prefix="run-", dir="/tmp") as running:
        yield ["--root", f"{place}/store", "--runroot", running, "--storage-driver", "vfs"]
    shutil.rmtree(place, ignore_errors=True)


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


def unpacked(layout: Path, target: Path) -> Path:
    """A bundle of the layout that asks for nothing this machine may not give: no terminal, limits or devices."""
    done = run(need("umoci"), "--log=error", "unpack", "--image", f"{layout}:latest", str(target))
    assert done.returncode == 0, done.stderr
    config = json.loads((target / "config.json").read_text())
    config["process"]["terminal"] = False
    del config["process"]["rlimits"]
    del config["linux"]["resources"]
    (target / "config.json").write_text(json.dumps(config))
    return target


def answer(port: int, deadline: float) -> bytes:
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(b"question")
                return client.recv(64)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def skip_unless_possible(done: subprocess.CompletedProcess[str], *impossible: str) -> None:
    found = [words for words in impossible if words in done.stderr]
    if done.returncode and found:
        pytest.skip(f"not possible on this machine: {done.stderr.strip()[-200:]}")


@pytest.mark.parametrize("isolation", [("chroot",), ("oci", "--runtime", "runc")], ids=" ".join)
def test_buildah_pulls_and_runs(
    layouts: dict[str, Path], storage: list[str], isolation: tuple[str, ...]
) -> None:
    buildah = [need("buildah"), *storage]
    if "--runtime" in isolation:
        need(isolation[-1])
    pulled = run(*buildah, "pull", f"oci:{layouts['hello']}:latest")
    assert pulled.returncode == 0, pulled.stderr
    container = run(*buildah, "from", pulled.stdout.split()[-1])
    assert container.returncode == 0, container.stderr
    name = container.stdout.strip()
    try:
        config = json.loads(run(*buildah, "inspect", name).stdout)["OCIv1"]["config"]
        assert config["Entrypoint"] == ["/shim/launch", "/shim/plan"]
        done = run(*buildah, "run", "--isolation", *isolation, name, "--", *config["Entrypoint"])
    finally:
        run(*buildah, "rm", name)
    skip_unless_possible(done, "cgroup", "ermission")
    assert (done.returncode, done.stdout) == (7, "hello\n"), done.stderr


def podman(storage: list[str], runtime: str, *arguments: str) -> list[str]:
    """Run in a cgroup of nobody's choosing and with limits that are there: both are podman's to ask for more."""
    files = str(min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    options = ["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", runtime]
    limits = ["--ulimit", f"nofile={files}:{files}", "--ulimit", "nproc=1024:1024"]
    groups = ["--cgroups", "disabled"] if runtime == "crun" else []
    command = [need("podman"), *storage, *options, "run", "--rm", *limits, *groups, *arguments]
    if runtime != "crun":
        return command
    return ["unshare", "-m", "sh", "-c", 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"', "sh", *command]  # fmt: skip


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_podman_runs_what_it_took_in(layouts: dict[str, Path], storage: list[str], runtime: str) -> None:
    need(runtime)
    image = f"oci:{layouts['hello']}:latest"
    done = run(*podman(storage, runtime, "--network", "none", image))
    skip_unless_possible(done, "cgroup", "ermission", "permitted")
    assert (done.returncode, done.stdout) == (7, "hello\n"), done.stderr


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_server_answers_under_podman(layouts: dict[str, Path], storage: list[str], runtime: str) -> None:
    need(runtime)
    port = layouts["port"].name
    command = podman(storage, runtime, "--network", "host", f"oci:{layouts['server']}:{port}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = answer(int(port), time.monotonic() + 20)
        except ConnectionRefusedError:
            said = b""
        server.send_signal(signal.SIGTERM)
        out, words = server.communicate(timeout=60)
    skip_unless_possible(
        subprocess.CompletedProcess(command, server.returncode, out, words),
        "cgroup",
        "ermission",
        "permitted",
    )
    assert said == b"answer question", words


def test_crun_runs_an_unpacked_bundle(layouts: dict[str, Path], tmp_path: Path) -> None:
    need("crun")
    bundle = unpacked(layouts["hello"], tmp_path / "bundle")
    script = 'mount -t cgroup2 none /sys/fs/cgroup && exec crun run "$0"'
    done = run("unshare", "-m", "sh", "-c", script, f"shim-test-{os.getpid()}", cwd=bundle)
    skip_unless_possible(done, "cgroup", "ermission", "permitted", "mount")
    assert (done.returncode, done.stdout) == (7, "hello\n"), done.stderr


def test_a_changed_layer_is_not_taken_in(layouts: dict[str, Path], tmp_path: Path) -> None:
    """Into a storage that does not have it: one that does never looks at the file."""
    layout = tmp_path / "layout"
    shutil.copytree(layouts["hello"], layout)
    layer = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(layer.read_bytes())
    data[len(data) // 2] ^= 1
    layer.write_bytes(data)
    storage = ["--root", f"{tmp_path}/store", "--runroot", f"{tmp_path}/run", "--storage-driver", "vfs"]
    done = run(need("buildah"), *storage, "pull", f"oci:{layout}:latest")
    assert done.returncode != 0
    assert run(need("buildah"), *storage, "images", "--quiet").stdout == ""
