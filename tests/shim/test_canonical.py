"""One byte string for a JSON value: the same as the library for it gives, whichever way it is made."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, strategies as st

from shim.canonical import canonical_bytes

LARGEST = (1 << 53) - 1
TEXT = st.text(max_size=6) | st.text(st.characters(max_codepoint=0x80), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST - 2, LARGEST + 2) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4) | st.tuples(inner),
    max_leaves=12,
)


@given(JSON)
@example("".join(map(chr, range(0x100))))
@example({chr(number): number for number in range(0x100)})
@example({"\U0001f600": 1, "\ufb33": 2, "a": 3})  # sorted by UTF-16, not by characters
@example({"a": 1, "B": 2, "": 3, "a ": 4, "aa": 5})
@example(LARGEST + 1)
@example([True, 1, None, ()])
@example("\ud800")
@example({"\ud800": 1})
def test_it_is_what_the_library_says(value: Any) -> None:  # noqa: ANN401
    try:
        want: bytes | None = rfc8785.dumps(value)
    except ValueError:
        want = None
    if want is None:
        with pytest.raises(ValueError, match=r"."):
            canonical_bytes(value)
    else:
        assert canonical_bytes(value) == want
        json.loads(want)


@pytest.mark.parametrize(
    "value", [{1: 2}, {None: 1}, {"a": {True: 1}}, {"a": b"x"}, {1, 2}, 1 << 53, [-(1 << 53)]]
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=r"."):
        canonical_bytes(value)
