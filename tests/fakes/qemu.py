"""
A stand-in for QEMU: it takes QEMU's command line and its sockets, and has a guest behind them that is real code.

What the guest is made of: `native/guest_simulator.c`, the protocol of the first process without a machine.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_PROGRAM = """#!{python}
import json, os, re, signal, socket, subprocess, sys, time
told = json.loads({told!r})
if "--version" in sys.argv:
    print("QEMU emulator version 7.2.22 (a stand-in)")
    raise SystemExit
if sys.argv[1:] == ["-object", "help"]:
    print("List of user creatable objects:")
    raise SystemExit
accel = sys.argv[sys.argv.index("-accel") + 1] if "-accel" in sys.argv else ""
if accel == "kvm" and told["kvm"] == "fails":
    sys.stderr.write("qemu: failed to initialize kvm: Permission denied\\n")
    raise SystemExit(1)
if accel == "kvm" and told["kvm"] == "hangs":
    time.sleep(100)
descriptors = [int(one) for one in re.findall(r"socket,id=\\w+,fd=(\\d+)", " ".join(sys.argv))]
console, ports = descriptors[0], descriptors[1:]
os.write(console, told["console"].encode())
if told["behaviour"] == "floods":
    try:
        while True:
            os.write(ports[0], bytes(65536))
    except OSError:
        raise SystemExit(0)
if told["behaviour"] == "sleeps":
    time.sleep(100)
if told["behaviour"] == "reads nothing":
    beginning = b"SHIM\\1\\1\\0\\0\\0\\0\\0\\0"
    os.write(ports[0], beginning)
    time.sleep(100)
status = 0
if ports:
    guest = subprocess.Popen(
        [told["simulator"], *map(str, ports), told["plan"], told["key"], "4", told["mode"]],
        stdin=subprocess.PIPE, stdout=open(told["secret"], "wb"), stderr=subprocess.PIPE, pass_fds=ports)
    for port in ports:
        os.close(port)
    _, errors = guest.communicate(bytes.fromhex(told["commands"]))
    os.write(console, errors.replace(b"\\n", b"\\r\\n"))
    status = guest.returncode
if told["behaviour"] != "silent end":
    os.write(console, b"shim: exit code %d\\r\\n" % status)
raise SystemExit(told["status"])
"""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """
    What is behind the sockets.

    Attributes:
        simulator: `guest-simulator`.
        plan: Its plan's digest, hexadecimal.
        key: The relying party's key that it knows, hexadecimal.
        commands: What it tells after the release, hexadecimal; see tests/native/simulating.py.
        secret: The file that gets the secret.
        mode: "sealed" or "plain".
        console: What it writes there first.
        behaviour: "guest", "floods", "sleeps", "reads nothing", "silent end".
        kvm: What happens under KVM: "works", "fails", "hangs".
        status: How QEMU itself ends.
    """

    simulator: str = ""
    plan: str = ""
    key: str = ""
    commands: str = ""
    secret: str = os.devnull
    mode: str = "sealed"
    console: str = ""
    behaviour: str = "guest"
    kvm: str = "works"
    status: int = 0


def write(path: Path, guest: Guest) -> Path:
    """Write the program that stands in, and return its path."""
    path.write_text(_PROGRAM.format(python=sys.executable, told=json.dumps(asdict(guest))))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
