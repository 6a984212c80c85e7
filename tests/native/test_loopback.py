"""For which plans does the first process of a machine raise the loopback?  In network namespaces of their own."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.launch._native import ffi, lib as native
from shim.launch.machine import Channel, ChannelKind, EvidenceKind, Network, NetworkMode
from shim.launch.plan import LaunchPlan, PlanFlag
from shim.launch.plan_codec import encode
from tests.native.launching import ALLOW, ERRNO_PERM, KILL, ROOT, all_but, by_number, only

SIOCGIFFLAGS, IFF_UP = 0x8913, 1
SOCKET, IO_URING_SETUP, READ, WRITE = 41, 425, 0, 1
ROOM = 4096 * 32  # struct bpf_state, as often as a filter has instructions
NO_SOCKET = only((READ, WRITE))
CHANNEL = Channel(ChannelKind.VIRTIO, EvidenceKind.TSM, bytes([1] * 32), name=b"org.shim.channel")
UP: dict[str, tuple[bytes, dict[str, object]]] = {
    "socket": (only((READ, WRITE, SOCKET)), {}),
    "a ring": (only((READ, WRITE, IO_URING_SETUP)), {}),
    "everything": (all_but(), {}),
    "reported and made": (NO_SOCKET, {"flags": PlanFlag.AUDIT | PlanFlag.EXEC_ALLOWED}),
    "a network": (NO_SOCKET, {"network": Network(NetworkMode.DHCP)}),
    "a channel": (NO_SOCKET, {"channel": CHANNEL}),
}
DOWN: dict[str, tuple[bytes, dict[str, object]]] = {
    "no socket": (NO_SOCKET, {}),
    "sockets are errors": (by_number({READ: ALLOW}, ERRNO_PERM), {}),
    "sockets end it": (by_number({READ: ALLOW}, KILL), {}),
}

WITHIN = """
import json, sys
from tests.native.test_loopback import raised
print(json.dumps(raised(sys.argv[1], sys.argv[2])))
"""


def raised(library: str, case: str) -> tuple[int, bool]:
    """Return what the call returns for a plan, and whether the loopback is up then."""
    filter, more = (UP | DOWN)[case]  # noqa: A001  # the plan's own word
    data = ffi.from_buffer(encode(LaunchPlan(b"/a", bytes(32), filter, (b"a",), **more)))  # type: ignore[arg-type]
    plan, fault = ffi.new("struct plan *"), ffi.new("struct plan_fault *")
    if native.plan_read(data, len(data), plan, fault) != 0:
        pytest.fail(f"{fault.where}: {fault.found}")
    call = ctypes.CDLL(library).init_raise_loopback
    call.restype = ctypes.c_long
    states = ctypes.create_string_buffer(ROOM)
    result = call(ctypes.c_void_p(int(ffi.cast("uintptr_t", plan))), states)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        flags = fcntl.ioctl(one, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
    return result, bool(struct.unpack_from("16xH", flags)[0] & IFF_UP)


@pytest.mark.parametrize("case", [*UP, *DOWN])
def test_the_loopback_is_up_for_who_can_have_a_socket(case: str, guest_build: Callable[[str], Path]) -> None:
    library = guest_build("guest-library") / "libguest.so"
    alone = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])]
    tried = subprocess.run([*alone, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespaces here: {tried.stderr.strip()}")
    command = [*alone, sys.executable, "-c", WITHIN, str(library), case]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, case in UP]
