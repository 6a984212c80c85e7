"""What collection asks of this very kernel: files, ioctls and devices that every machine has."""

from __future__ import annotations

import errno
import os
import struct
import termios
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from attestation.errors import KernelError
from attestation.guest import Guest, LinuxGuest, explained
from attestation.ioctl import address, read_write
from tests.fakes.guest import fetched, no_pause


def machine(root: Path) -> LinuxGuest:
    return LinuxGuest(root, lambda _cid, _port: pytest.fail("connected"), no_pause)


def test_files_are_read_up_to_a_limit(tmp_path: Path) -> None:
    guest: Guest = machine(tmp_path)
    (tmp_path / "file").write_bytes(b"12345")
    assert guest.read("file", 5) == b"12345"
    with pytest.raises(OSError, match="too large") as caught:
        guest.read("file", 4)
    assert caught.value.errno == errno.EFBIG
    assert machine(Path("/")).read("proc/self/status", 1 << 20).startswith(b"Name:")


def test_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(OSError, match="too large"):
        machine(Path("/")).read("dev/zero", 1 << 16)


def test_write_never_makes_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        machine(tmp_path).write("file", b"x")
    (tmp_path / "file").touch()
    machine(tmp_path).write("file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_directories_are_made_and_removed(tmp_path: Path) -> None:
    guest = machine(tmp_path)
    guest.make_directory("one")
    assert guest.exists("one")
    with pytest.raises(FileExistsError):
        guest.make_directory("one")
    guest.remove_directory("one")
    assert not guest.exists("one")
    with pytest.raises(FileNotFoundError):
        guest.remove_directory("one")


@pytest.fixture
def terminal(tmp_path: Path) -> tuple[LinuxGuest, int]:
    """A device that answers: the far end of a terminal, which echoes what our side does."""
    near, far = os.openpty()
    tty.setraw(far)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "tpmrm0").symlink_to(os.ttyname(far))
    os.close(far)
    return machine(tmp_path), near


def test_ioctl_reads_and_changes_its_argument(terminal: tuple[LinuxGuest, int]) -> None:
    guest, near = terminal
    size = bytearray(struct.pack("HHHH", 33, 44, 0, 0))
    guest.ioctl("dev/tpmrm0", termios.TIOCSWINSZ, size)
    found = bytearray(8)
    guest.ioctl("dev/tpmrm0", termios.TIOCGWINSZ, found)
    assert found == size
    os.close(near)


def test_ioctl_that_a_device_does_not_know_is_an_error(terminal: tuple[LinuxGuest, int]) -> None:
    guest, near = terminal
    with pytest.raises(OSError, match="Inappropriate") as caught:
        guest.ioctl("dev/tpmrm0", read_write(ord("S"), 0, 32), bytearray(32))
    assert caught.value.errno == errno.ENOTTY
    os.close(near)


def test_answer_of_a_device_is_limited(tmp_path: Path) -> None:
    guest = machine(Path("/"))
    assert guest.exchange("dev/zero", b"command", 16) == bytes(16)
    with pytest.raises(OSError, match="No such"):
        machine(tmp_path).exchange("dev/tpmrm0", b"command", 16)
    with pytest.raises(OSError, match="No space") as caught:
        guest.exchange("dev/full", b"command", 16)
    assert caught.value.errno == errno.ENOSPC


def test_structures_point_to_buffers() -> None:
    buffer = bytearray(b"12345678")
    assert fetched(address(buffer), 8) == b"12345678"


RAISED: dict[str, tuple[Callable[[], OSError], str, int]] = {
    "known here": (lambda: OSError(errno.EBUSY, "x"), "EBUSY: come back later", errno.EBUSY),
    "known to the library": (lambda: OSError(errno.EPIPE, "Broken"), "EPIPE: Broken", errno.EPIPE),
    "of a socket": (lambda: TimeoutError("timed out"), "ETIMEDOUT: timed out", errno.ETIMEDOUT),
    "unknown": (lambda: OSError(9999, "odd"), "9999: odd", 9999),
    "without a number": (lambda: OSError("odd"), "0: odd", 0),
}


@pytest.mark.parametrize("name", RAISED)
def test_errors_of_the_kernel_are_explained(name: str) -> None:
    make, text, number = RAISED[name]
    with (
        pytest.raises(KernelError, match=f"the place: found {text}, want no error .the source.") as caught,
        explained("the place", {errno.EBUSY: "come back later"}, "the source"),
    ):
        raise make()
    assert caught.value.number == number
