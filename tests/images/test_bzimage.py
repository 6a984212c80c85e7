"""What the setup header of a kernel says, and what is no kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from images import bzimage
from images.boot_errors import CommandLineError, KernelError
from tests.broken import manipulate
from tests.fakes.bzimage import LIMIT, RELEASE, kernel

KERNEL = kernel()


def test_release_and_limit_are_read() -> None:
    found = bzimage.parse(KERNEL)
    assert (found.release, found.command_line_limit) == (RELEASE, LIMIT)


def test_a_real_kernel_says_what_file_says() -> None:
    kernels = sorted(Path("/boot").glob("vmlinuz-*"))
    if not kernels:
        pytest.skip("no kernel in /boot (apt install linux-image-cloud-amd64)")
    found = bzimage.parse(kernels[-1].read_bytes())
    assert kernels[-1].name == f"vmlinuz-{found.release}"
    assert found.command_line_limit >= 255


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "header"),
        (b"\x7fELF".ljust(2000, b"\0"), "header"),
        (kernel(magic=b"HdrZ"), "header"),
        (kernel(protocol=0x20B), "header"),
        (kernel(load_flags=0), "header"),
        (kernel(extended_flags=0x3E), "xloadflags"),
        (kernel(version_at=0), "kernel_version"),
        (kernel(version_at=0xFFFF), "kernel_version"),
        (kernel(release=""), "kernel_version"),
        (kernel(release="6.\x07"), "kernel_version"),
        (kernel(release="6.\u00e4"), "kernel_version"),
        (kernel(release="6" * 300), "kernel_version"),
        (kernel(setup_sectors=1), "kernel_version"),
        (KERNEL[:0x267], "header"),
    ],
)
def test_what_is_no_kernel_is_refused(data: bytes, where: str) -> None:
    with pytest.raises(KernelError) as caught:
        bzimage.parse(data)
    assert caught.value.where == f"kernel.{where}"


def test_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bzimage, "MAXIMUM_SIZE", len(KERNEL) - 1)
    with pytest.raises(KernelError, match="at most"):
        bzimage.parse(KERNEL)


def test_no_prefix_of_the_header_is_a_kernel() -> None:
    for prefix in manipulate.every_proper_prefix(KERNEL[: 0x500 + len(RELEASE)]):
        with pytest.raises(KernelError):
            bzimage.parse(prefix)


@given(st.binary(max_size=900), st.integers(0, 0x600))
def test_only_our_error_escapes(data: bytes, place: int) -> None:
    for attempt in (data, KERNEL[:place] + data + KERNEL[place + len(data) :]):
        try:
            assert bzimage.parse(attempt).release
        except KernelError as error:
            assert error.want


@pytest.mark.parametrize(
    "text", ["", "quiet", "console=ttyS0 -- a  b", "name=\u00e4\u20ac", "x" * LIMIT, "\u00e4" * (LIMIT // 2)]
)
def test_lines_that_reach_the_kernel_as_they_are(text: str) -> None:
    assert bzimage.check_command_line(text, bzimage.parse(KERNEL)) == text.encode()


@pytest.mark.parametrize(
    "text",
    [" quiet", "quiet ", "a\nb", "a\tb", "a\0b", "quiet\n", "\x7f", "\U0001f600", "\ud800", "x" * (LIMIT + 1), "\u00e4" * (LIMIT // 2 + 1), "\u00a0a"],
)  # fmt: skip
def test_lines_that_would_not_are_refused(text: str) -> None:
    with pytest.raises(CommandLineError) as caught:
        bzimage.check_command_line(text, bzimage.parse(KERNEL))
    assert caught.value.where == "command line"


def test_the_limit_is_that_of_the_kernel() -> None:
    short = bzimage.parse(kernel(limit=5))
    assert bzimage.check_command_line("quiet", short) == b"quiet"
    with pytest.raises(CommandLineError, match="found 6 bytes, want at most 5"):
        bzimage.check_command_line("quiet1", short)
