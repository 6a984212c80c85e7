"""Collection against a fake kernel that keeps configfs-tsm's rules in a temporary folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from attestation import collect
from attestation.errors import CollectError, NoTeeError, UnsupportedTeeError
from attestation.tsm import REPORTS, ConfigfsTsm
from tests.fakes.amd import Chip

CHIP = Chip()
DATA = bytes(range(64))
REPORT = CHIP.report()


@dataclass
class FakeKernel:
    """A kernel behind configfs-tsm: counts writes, answers reads, and can be made to fail."""

    provider: bytes = b"sev_guest\n"
    auxiliary: bytes = b""
    failures: list[int] = field(default_factory=list)
    foreign_writes: int = 0
    generation: int = 7
    given: bytes = b""
    open_requests: set[str] = field(default_factory=set)

    @contextmanager
    def request(self, entry: str) -> Iterator[None]:
        self.open_requests.add(entry)
        try:
            yield
        finally:
            self.open_requests.remove(entry)

    def write(self, entry: str, attribute: str, data: bytes) -> None:
        assert (entry in self.open_requests, attribute) == (True, "inblob")
        self.given, self.generation = data, self.generation + 1

    def read(self, entry: str, attribute: str) -> bytes:
        assert entry in self.open_requests
        match attribute:
            case "provider":
                return self.provider
            case "generation":
                return b"%d\n" % self.generation
            case "auxblob":
                return self.auxiliary
        if self.failures:
            number = self.failures.pop(0)
            raise CollectError("outblob", errno.errorcode[number], "no error") from OSError(number, "fake")
        self.generation += self.foreign_writes
        return CHIP.report(3, REPORT_DATA=self.given)


def ask(kernel: FakeKernel, pauses: list[float] | None = None) -> tuple[bytes, bytes]:
    waited: list[float] = [] if pauses is None else pauses
    return collect.request(kernel, "entry", DATA, "sev_guest", waited.append)


def test_report_is_bound_to_what_was_asked() -> None:
    kernel = FakeKernel(auxiliary=b"table")
    evidence, auxiliary = ask(kernel)
    assert evidence[0x50:0x90] == DATA
    assert auxiliary == b"table"
    assert kernel.open_requests == set()


@pytest.mark.parametrize("provider", [b"tdx_guest\n", b"", b"\xff"])
def test_another_provider_is_refused(provider: bytes) -> None:
    kernel = FakeKernel(provider=provider)
    with pytest.raises(CollectError, match="provider"):
        ask(kernel)
    assert kernel.given == b""


@pytest.mark.parametrize("writes", [1, 2, -1])
def test_another_writer_is_noticed(writes: int) -> None:
    with pytest.raises(CollectError, match="generation"):
        ask(FakeKernel(foreign_writes=writes))


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EWOULDBLOCK, errno.ETIMEDOUT, errno.EINTR])
def test_what_passes_is_waited_for(number: int) -> None:
    pauses: list[float] = []
    assert ask(FakeKernel(failures=[number] * 4), pauses)
    assert pauses == sorted(pauses)
    assert len(pauses) == 4


def test_waiting_has_an_end() -> None:
    kernel = FakeKernel(failures=[errno.EBUSY] * 9)
    with pytest.raises(CollectError, match="EBUSY"):
        ask(kernel)
    assert kernel.open_requests == set()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENXIO, errno.EFBIG, errno.EACCES])
def test_what_does_not_pass_is_an_error_at_once(number: int) -> None:
    pauses: list[float] = []
    with pytest.raises(CollectError, match=errno.errorcode[number]):
        ask(FakeKernel(failures=[number]), pauses)
    assert pauses == []


@pytest.mark.parametrize("text", ["", "x", "-1", "²"])
def test_generation_that_is_no_number_is_an_error(text: str) -> None:
    class Odd(FakeKernel):
        def read(self, entry: str, attribute: str) -> bytes:
            return text.encode() if attribute == "generation" else super().read(entry, attribute)

    with pytest.raises(CollectError, match="generation"):
        ask(Odd())


# The real file operations, on a folder


@dataclass(frozen=True, slots=True)
class Folder(ConfigfsTsm):
    """What the kernel does when a request's directory is made and removed, done by hand."""

    auxiliary: bytes | None = None

    @contextmanager
    def request(self, entry: str) -> Iterator[None]:
        directory = self.root / REPORTS / entry
        directory.mkdir()
        attributes = {"provider": b"sev_guest\n", "generation": b"0\n", "inblob": b"", "outblob": REPORT}
        if self.auxiliary is not None:
            attributes["auxblob"] = self.auxiliary
        for name, data in attributes.items():
            (directory / name).write_bytes(data)
        yield
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()

    def write(self, entry: str, attribute: str, data: bytes) -> None:
        super(Folder, self).write(entry, attribute, data)  # dataclass(slots=True) makes a new class
        (self.root / REPORTS / entry / "generation").write_bytes(b"1\n")


def machine(root: Path, *devices: str, has_configfs: bool = True) -> Path:
    (root / "dev").mkdir()
    for device in devices:
        (root / "dev" / device).touch()
    if has_configfs:
        (root / REPORTS).mkdir(parents=True)
    return root


@pytest.mark.parametrize("auxiliary", [None, b"", bytes(24)])
def test_attributes_are_read_and_written(tmp_path: Path, auxiliary: bytes | None) -> None:
    folder = Folder(machine(tmp_path), auxiliary)
    assert collect.request(folder, "entry", DATA, "sev_guest", pytest.fail) == (REPORT, auxiliary or b"")
    assert list((tmp_path / REPORTS).iterdir()) == []


def test_request_is_removed_and_errors_are_named(tmp_path: Path) -> None:
    reports = ConfigfsTsm(machine(tmp_path))
    with reports.request("entry"):
        with pytest.raises(CollectError, match=r"entry/provider: found ENOENT"):
            reports.read("entry", "provider")
        with pytest.raises(CollectError, match=r"entry/inblob: found ENOENT"):
            reports.write("entry", "inblob", DATA)
        with (
            pytest.raises(CollectError, match=r"EEXIST: a request of this name exists"),
            reports.request("entry"),
        ):
            pytest.fail("two requests of one name")
        assert reports.read("entry", "auxblob") == b""
    assert not os.listdir(tmp_path / REPORTS)  # noqa: PTH208  # names only


def test_write_never_makes_a_file(tmp_path: Path) -> None:
    reports = ConfigfsTsm(machine(tmp_path))
    with reports.request("entry"), pytest.raises(CollectError):
        reports.write("entry", "no_such_attribute", b"x")


# What machine is this?


def test_snp_guest_is_detected(tmp_path: Path) -> None:
    assert collect.detect(machine(tmp_path, "sev-guest")) == "snp"


def test_nothing_is_never_the_simulation(tmp_path: Path) -> None:
    with pytest.raises(NoTeeError, match="/dev/sev-guest"):
        collect.detect(machine(tmp_path))


@pytest.mark.parametrize("device", ["tdx_guest", "nsm"])
def test_other_kinds_are_named_as_unsupported(tmp_path: Path, device: str) -> None:
    with pytest.raises(UnsupportedTeeError, match=device):
        collect.detect(machine(tmp_path, device))


def test_snp_without_configfs_says_what_is_missing(tmp_path: Path) -> None:
    root = machine(tmp_path, "sev-guest", has_configfs=False)
    with pytest.raises(UnsupportedTeeError, match="CONFIG_TSM_REPORTS"):
        collect.detect(root)
    with pytest.raises(UnsupportedTeeError, match="CONFIG_TSM_REPORTS"):
        collect.collect("snp", DATA, root=root, entry="x", pause=pytest.fail)


def test_collection_asks_the_kernel_below_root(tmp_path: Path) -> None:
    root = machine(tmp_path, "sev-guest")
    with pytest.raises(CollectError, match="entry/provider: found ENOENT"):
        collect.collect("snp", DATA, root=root, entry="entry", pause=pytest.fail)
    assert list((root / REPORTS).iterdir()) == []


def test_simulation_is_collected_by_name(tmp_path: Path) -> None:
    evidence, endorsements = collect.collect("simulated", DATA, root=tmp_path, entry="x", pause=pytest.fail)
    assert evidence[0x50:0x90] == DATA
    assert len(endorsements.certificates) == 3


@pytest.mark.parametrize("kind", ["tdx", "nitro", "", "auto"])
def test_kind_that_is_not_supported_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UnsupportedTeeError):
        collect.collect(kind, DATA, root=tmp_path, entry="x", pause=pytest.fail)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_report_data_of_another_length_is_the_callers_bug(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="64"):
        collect.collect("snp", bytes(size), root=tmp_path, entry="x", pause=pytest.fail)
