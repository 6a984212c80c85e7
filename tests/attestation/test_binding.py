from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, strategies as st

from attestation import binding

PARTS = st.tuples(*[st.binary(min_size=32, max_size=32)] * 3)


def test_formula_is_the_documented_one() -> None:
    nonce, key, plan = b"n" * 32, b"k" * 32, b"p" * 32
    assert (
        binding.report_data(nonce, key, plan)
        == hashlib.sha512(b"shim report/v1\0\0" + nonce + key + plan).digest()
    )
    assert len(binding.LABEL) == 16


def test_no_key_counts_as_zeros() -> None:
    assert binding.report_data(bytes(32), None, bytes(32)) == binding.report_data(
        bytes(32), bytes(32), bytes(32)
    )


@given(PARTS, PARTS)
def test_different_parts_give_different_bytes(
    first: tuple[bytes, bytes, bytes], second: tuple[bytes, bytes, bytes]
) -> None:
    assert (binding.report_data(*first) == binding.report_data(*second)) == (first == second)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 31, 33])
def test_part_of_another_length_is_the_callers_bug(place: int, size: int) -> None:
    parts = [bytes(32), bytes(32), bytes(32)]
    parts[place] = bytes(size)
    with pytest.raises(ValueError, match="want 32"):
        binding.report_data(*parts)
