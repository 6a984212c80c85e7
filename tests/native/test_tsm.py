"""The guest's own collector, in C, against a file system with the rules of configfs-tsm."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from attestation import endorsements
from attestation.simulated.collect import collect
from tests.fakes.configfs_tsm import Tsm, mounted

REPORT_DATA = bytes(range(64))
ROOM = 1 << 20


class Evidence(ctypes.Structure):
    """struct guest_evidence."""

    _fields_ = [
        (f"{name}{suffix}", kind)
        for name in ("evidence", "event_log", "endorsements")
        for suffix, kind in (("", ctypes.c_void_p), ("_size", ctypes.c_size_t))
    ] + [("activate", ctypes.c_void_p), ("activator", ctypes.c_void_p)]


class Fault(ctypes.Structure):
    """struct guest_fault."""

    _fields_ = (("where", ctypes.c_char_p), ("want", ctypes.c_char_p), ("found", ctypes.c_char * 64))


@dataclass
class Collector:
    library: ctypes.CDLL
    folder: Path

    def __call__(self, tsm: Tsm) -> tuple[bytes, bytes]:
        """Evidence and endorsements, or the words of a failure as an error."""
        room, evidence, fault = ctypes.create_string_buffer(ROOM), Evidence(), Fault()
        with mounted(self.folder, tsm):
            done = self.library.collect_tsm(
                bytes(self.folder), REPORT_DATA, room, ctypes.byref(evidence), ctypes.byref(fault)
            )
        assert tsm.requests == [], "a request was left behind"
        if done != 0:
            raise ValueError(
                f"{fault.where.decode()}: found {fault.found.decode()}, want {fault.want.decode()}"
            )
        return (
            ctypes.string_at(evidence.evidence, evidence.evidence_size),
            ctypes.string_at(evidence.endorsements, evidence.endorsements_size),
        )


@pytest.fixture
def collector(guest_build: Callable[[str], Path], tmp_path: Path) -> Collector:
    try:
        with mounted(tmp_path, Tsm()):
            pass
    except OSError as error:
        pytest.skip(f"nothing can be mounted by FUSE: {error}")
    return Collector(ctypes.CDLL(str(guest_build("guest-library") / "libguest.so")), tmp_path)


def report(data: bytes) -> bytes:
    return collect(data)[0]


def test_a_report_and_what_the_host_adds(collector: Collector) -> None:
    """What the relying party appraises is what the kernel gave, and the table is one that it can read."""
    table = bytes(24) + b"no certificates"
    tsm = Tsm(report=report, auxblob=table)
    evidence, added = collector(tsm)
    assert evidence == report(REPORT_DATA)
    assert added == table
    assert endorsements.parse(added, "auxblob").certificates == ()


def test_a_driver_without_a_table(collector: Collector) -> None:
    assert collector(Tsm("tdx_guest", lambda data: b"quote" + data)) == (b"quote" + REPORT_DATA, b"")


def test_a_large_quote(collector: Collector) -> None:
    assert collector(Tsm("tdx_guest", lambda data: data * 3000)) == (REPORT_DATA * 3000, b"")


def test_the_lowest_level_that_is_allowed(collector: Collector) -> None:
    """The kernel begins with 0, allowed or not."""
    tsm = Tsm(floor=2)
    levels = []
    tsm.report = lambda data: levels.append(tsm.written.get("privlevel")) or data
    assert collector(tsm)[0] == REPORT_DATA
    assert levels == [b"2"]


def test_a_host_that_throttles(collector: Collector) -> None:
    failures = {"inblob": [errno.EBUSY], "outblob": [errno.EBUSY, errno.ETIMEDOUT], "auxblob": [errno.EINTR]}
    assert collector(Tsm(failures=failures, auxblob=b"table")) == (REPORT_DATA, b"table")


REFUSED = {
    "no-provider": (Tsm(None), "no TEE behind configfs-tsm"),
    "another-provider": (Tsm("evil_guest"), "want sev_guest, tdx_guest or arm_cca_guest"),
    "part-of-a-name": (Tsm("sev_gues"), "found 'sev_gues\\x0a'"),
    "no-report": (Tsm(report=lambda _: b""), "found 0 bytes, want a report in outblob"),
    "the-host-refuses": (Tsm(failures={"outblob": [errno.EIO]}), "the firmware or the host refused"),
    "not-written": (Tsm(failures={"inblob": [errno.EINVAL]}), "Invalid argument, want inblob"),
    "another-writer": (Tsm(interferes=True), "found 2, want a generation for each of our writes"),
    "too-large": (Tsm(report=lambda _: bytes(ROOM)), "more than there is room for"),
    "a-table-too-large": (Tsm(auxblob=bytes(65536)), "more than there is room for"),
    "no-number": (Tsm(floor="many"), "found no number, want privlevel_floor"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(collector: Collector, case: str) -> None:
    tsm, words = REFUSED[case]
    with pytest.raises(ValueError, match=r"^collect-tsm: found ") as refused:
        collector(tsm)
    assert words in str(refused.value)


def test_a_kernel_without_it(collector: Collector) -> None:
    collector.folder = collector.folder / "not-there"
    fault = Fault()
    path = bytes(collector.folder)
    assert collector.library.collect_tsm(path, REPORT_DATA, None, None, ctypes.byref(fault)) == -1
    assert fault.found.startswith(b"no configfs-tsm")
