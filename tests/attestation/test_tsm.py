"""configfs-tsm: one request after another of a kernel that keeps its documented rules."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, strategies as st

from attestation import tsm
from attestation.errors import CollectError, KernelError
from attestation.tsm import REPORTS, UnavailableError
from tests.fakes.guest import FakeGuest, Tsm, error

DATA = bytes(range(64))


def ask(kernel: Tsm, level: int | None = None, pauses: list[float] | None = None) -> tsm.Answer:
    guest = FakeGuest(tsm=kernel)
    try:
        return tsm.request(guest, "entry", DATA, "sev_guest", level)
    finally:
        assert kernel.entries == {}
        if pauses is not None:
            pauses += guest.pauses


def test_report_is_bound_to_what_was_asked() -> None:
    answer = ask(Tsm(auxblob=b"table", manifestblob=b"services"))
    assert answer.outblob[0x50:0x90] == DATA
    assert (answer.auxblob, answer.manifestblob) == (b"table", b"services")


def test_blobs_that_a_driver_does_not_show_are_empty() -> None:
    answer = ask(Tsm(auxblob=None, floor=None))
    assert (answer.auxblob, answer.manifestblob) == (b"", b"")


@pytest.mark.parametrize(("provider", "least"), [("sev_guest", 64), ("tdx_guest", 64), ("arm_cca_guest", 32)])
def test_every_provider_is_asked_alike(provider: str, least: int) -> None:
    kernel = Tsm(provider=provider, report=lambda data, _: b"token" + data, auxblob=None, smallest=least)
    answer = tsm.request(FakeGuest(tsm=kernel), "entry", DATA, provider)
    assert answer.outblob == b"token" + DATA


@pytest.mark.parametrize("provider", ["tdx_guest", "", "sev_guest2", "\x7f"])
def test_another_provider_is_refused_before_anything_is_written(provider: str) -> None:
    kernel = Tsm(provider=provider, refusals=[errno.EIO])
    with pytest.raises(CollectError, match=r"provider: found .*want sev_guest"):
        ask(kernel)
    assert kernel.refusals == [errno.EIO]


# Privilege levels


@pytest.mark.parametrize(
    ("level", "floor", "vmpl"), [(None, 0, 0), (None, 2, 2), (1, 0, 1), (3, 2, 3), (0, 0, 0)]
)
def test_report_is_about_the_privilege_level(level: int | None, floor: int, vmpl: int) -> None:
    answer = ask(Tsm(floor=floor), level)
    assert int.from_bytes(answer.outblob[0x30:0x34], "little") == vmpl


@pytest.mark.parametrize(("level", "floor"), [(4, 0), (1, 2), (-1, 0)])
def test_privilege_level_that_is_not_allowed_is_refused(level: int, floor: int) -> None:
    with pytest.raises(CollectError, match=f"privlevel: found {level}, want {floor} to 3"):
        ask(Tsm(floor=floor), level)


def test_privilege_level_of_a_provider_without_any_is_refused() -> None:
    with pytest.raises(CollectError, match="no such attribute"):
        ask(Tsm(floor=None), 0)


# Other writers


@pytest.mark.parametrize("writes", [1, 2, 7])
def test_after_another_writer_everything_is_asked_again(writes: int) -> None:
    pauses: list[float] = []
    answer = ask(Tsm(intruders=[writes]), 1, pauses)
    assert answer.outblob[0x50:0x90] == DATA
    assert pauses == [0.25]


def test_another_writer_each_time_is_an_error_that_says_so() -> None:
    pauses: list[float] = []
    text = "generation: found another writer in each of 3 attempts: 3 writes in the last, want 1, our own"
    with pytest.raises(CollectError, match=text):
        ask(Tsm(intruders=[2, 2, 2]), None, pauses)
    assert pauses == [0.25, 0.5]


def test_write_that_the_kernel_drops_is_noticed() -> None:
    with pytest.raises(CollectError, match="EINVAL: nothing was written before reading"):
        ask(Tsm(lost=1))


def test_count_that_does_not_follow_our_writes_is_an_error() -> None:
    class Still(Tsm):
        def read(self, name: str, attribute: str) -> bytes:
            return b"5\n" if attribute == "generation" else super().read(name, attribute)

    with pytest.raises(CollectError, match="0 writes in the last, want 2, our own"):
        ask(Still(), 1)


# What the kernel says


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EWOULDBLOCK, errno.ETIMEDOUT, errno.EINTR])
def test_what_passes_is_waited_for(number: int) -> None:
    pauses: list[float] = []
    assert ask(Tsm(refusals=[number] * 4), None, pauses)
    assert pauses == [0.5, 1, 2, 4]


MESSAGES = {
    errno.EBUSY: "EBUSY: the host is throttling requests",
    errno.EWOULDBLOCK: "EAGAIN: another process wrote to the request",
    errno.ETIMEDOUT: "ETIMEDOUT: the host did not answer in time",
    errno.EINTR: "EINTR: interrupted",
    errno.EINVAL: "EINVAL: nothing was written before reading, or the value is not accepted",
    errno.EFBIG: "EFBIG: the blob is larger than the kernel allows",
    errno.ENXIO: "ENXIO: no driver of a trusted execution environment",
    errno.EIO: "EIO: the firmware or the host refused",
    errno.ENOTTY: "ENOTTY: the driver gave up its key",
    errno.EACCES: "EACCES: only root may ask",
    errno.ENOMEM: "ENOMEM: Cannot allocate memory",
}


@pytest.mark.parametrize("number", MESSAGES)
def test_each_error_of_the_kernel_has_its_message(number: int) -> None:
    with pytest.raises(KernelError, match=f"entry/outblob: found {MESSAGES[number]}") as caught:
        ask(Tsm(refusals=[number] * 5))
    assert caught.value.number == number


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENXIO, errno.EFBIG, errno.EACCES, errno.EIO])
def test_what_does_not_pass_is_an_error_at_once(number: int) -> None:
    kernel = Tsm(refusals=[number] * 5)
    pauses: list[float] = []
    with pytest.raises(KernelError):
        ask(kernel, None, pauses)
    assert (pauses, len(kernel.refusals)) == ([], 4)


def test_host_that_gives_no_quote_is_an_error() -> None:
    kernel = Tsm(provider="tdx_guest", report=lambda _data, _level: b"", auxblob=None, floor=None)
    with pytest.raises(CollectError, match="outblob: found 0 bytes"):
        tsm.request(FakeGuest(tsm=kernel), "entry", DATA, "tdx_guest")
    assert kernel.entries == {}


def test_input_that_is_too_long_is_refused_by_the_kernel() -> None:
    with pytest.raises(KernelError, match="entry/inblob: found EFBIG"):
        tsm.request(FakeGuest(tsm=Tsm()), "entry", bytes(65), "sev_guest")


@pytest.mark.parametrize("text", ["", "x", "-1", "²", "1 2", "0x1"])
@pytest.mark.parametrize("attribute", ["generation", "privlevel_floor"])
def test_number_that_is_none_is_an_error(text: str, attribute: str) -> None:
    class Odd(Tsm):
        def read(self, name: str, asked: str) -> bytes:
            return text.encode() if asked == attribute else super().read(name, asked)

    with pytest.raises(CollectError, match=attribute):
        ask(Odd())


# Making and removing a request


def test_two_collectors_never_share_a_request() -> None:
    kernel = Tsm()
    kernel.mkdir("entry")
    with pytest.raises(KernelError, match="entry/mkdir: found EEXIST: a request of this name exists"):
        tsm.request(FakeGuest(tsm=kernel), "entry", DATA, "sev_guest")
    assert list(kernel.entries) == ["entry"]


UNAVAILABLE: dict[str, tuple[FakeGuest, str]] = {
    "no configfs-tsm": (FakeGuest(), "ENOENT: no configfs-tsm"),
    "nothing behind it": (FakeGuest(tsm=Tsm(registered=False)), "ENXIO: no driver"),
    "not root": (FakeGuest(tsm=Tsm(), denied=frozenset({REPORTS})), "EACCES: only root may ask"),
}


@pytest.mark.parametrize("name", UNAVAILABLE)
def test_what_cannot_be_asked_says_why(name: str) -> None:
    guest, text = UNAVAILABLE[name]
    for asked in (
        lambda: tsm.provider(guest, "entry"),
        lambda: tsm.request(guest, "entry", DATA, "sev_guest"),
    ):
        with pytest.raises(UnavailableError, match=f"entry/mkdir: found {text}"):
            asked()


def test_provider_is_read_and_the_request_removed() -> None:
    kernel = Tsm(provider="arm_cca_guest")
    assert tsm.provider(FakeGuest(tsm=kernel), "entry") == "arm_cca_guest"
    assert (kernel.entries, kernel.made) == ({}, ["entry"])


def test_provider_that_goes_away_in_between_is_an_error() -> None:
    class Leaving(Tsm):
        def write(self, name: str, attribute: str, data: bytes) -> None:
            super().write(name, attribute, data)
            self.registered = False

    with pytest.raises(KernelError, match="entry/outblob: found ENXIO"):
        ask(Leaving())


def test_first_error_is_the_one_raised_where_removing_fails_too() -> None:
    class Stuck(Tsm):
        def rmdir(self, name: str) -> None:
            super().rmdir(name)
            raise error(errno.EBUSY)

    with pytest.raises(KernelError, match="entry/rmdir: found EBUSY"):
        ask(Stuck())
    with pytest.raises(KernelError, match="entry/outblob: found EIO"):
        ask(Stuck(refusals=[errno.EIO]))


@pytest.mark.parametrize("end", [KeyboardInterrupt, MemoryError])
def test_request_is_removed_whatever_happens(end: type[BaseException]) -> None:
    def report(_data: bytes, _level: int) -> bytes:
        raise end

    with pytest.raises(end):
        ask(Tsm(report=report))


@given(
    st.lists(st.sampled_from(sorted(MESSAGES)), max_size=8),
    st.lists(st.integers(0, 3), max_size=4),
    st.sampled_from([None, 0, 1, 3, 4]),
    st.sampled_from([None, 0, 2]),
    st.sampled_from([None, b"m"]),
)
def test_an_answer_is_ours_or_there_is_none(
    refusals: list[int], intruders: list[int], level: int | None, floor: int | None, manifest: bytes | None
) -> None:
    kernel = Tsm(refusals=refusals, intruders=intruders, floor=floor, manifestblob=manifest)
    try:
        answer = ask(kernel, level)
    except CollectError:
        return
    assert answer.outblob[0x50:0x90] == DATA
    wanted = (floor or 0) if level is None else level
    assert int.from_bytes(answer.outblob[0x30:0x34], "little") == wanted
