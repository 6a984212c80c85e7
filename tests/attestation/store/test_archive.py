"""One file goes out and comes back the same, and no other file comes in."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from attestation.errors import EvidenceFormatError
from attestation.store import archive, entry as entries
from attestation.store.entry import Kept
from attestation.store.store import Store
from attestation.wanted import Answer
from tests.fakes.amd import NOW, START

KEPT = tuple(
    Kept(
        f"https://kdsintf.amd.com/{number}", Answer(b"body %d" % number, issuers), START, NOW, "source", '"e"'
    )
    for number, issuers in enumerate((b"chain", b"chain", b""))
)
WHOLE = archive.dumps(KEPT)


def test_what_goes_out_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for one in KEPT:
        store.keep(one)
    assert archive.dumps(store.everything()) == archive.dumps(reversed(KEPT)) == WHOLE
    assert sorted(archive.loads(WHOLE), key=lambda one: one.url) == list(KEPT)
    assert archive.loads(archive.dumps(())) == ()


def test_other_tools_can_look_into_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as tar:
        names = tar.getnames()
        assert names == sorted(names)
        assert len(names) == 3 + 3 + 1
        assert {(info.mtime, info.uid, info.gid, info.mode) for info in tar} == {(0, 0, 0, 0o644)}


def packed(*members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, size: int = 1, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info


OBJECT = "objects/" + "0" * 64
INDEX = f"index/{entries.name(KEPT[2].url)}"
ENTRY = entries.dumps(entries.of(KEPT[2]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        bytes(512),
        bytes(10240),
        WHOLE[:-1],
        WHOLE[:-512],
        WHOLE + b"\0",
        WHOLE + bytes(512),
        WHOLE + WHOLE,
        WHOLE[512:],
        gzip.compress(WHOLE, mtime=0),
        packed((member("../../etc/passwd"), b"x")),
        packed((member("/etc/passwd"), b"x")),
        packed((member("index/../../x"), b"x")),
        packed((member(f"objects/../{OBJECT}"), b"x")),
        packed((member("objects/" + "A" * 64), b"x")),
        packed((member(OBJECT), b"x")),  # what no entry names
        packed((member(OBJECT, 0, type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")),
        packed((member(OBJECT, 0, type=tarfile.LNKTYPE, linkname="/etc/passwd"), b"")),
        packed((member(OBJECT, 0, type=tarfile.DIRTYPE), b"")),
        packed((member(OBJECT, 0, type=tarfile.FIFOTYPE), b"")),
        packed((member(OBJECT, 0, type=tarfile.CHRTYPE, devmajor=1, devminor=5), b"")),
        packed((member(OBJECT, 1, type=tarfile.GNUTYPE_SPARSE), b"x"), kind=tarfile.GNU_FORMAT),
        packed((member(OBJECT, 1, mtime=1), b"x")),
        packed((member(OBJECT, 1, uid=1), b"x")),
        packed((member(OBJECT, 1, mode=0o4755), b"x")),
        packed((member(OBJECT, 1, pax_headers={"size": "99999999999"}), b"x"), kind=tarfile.PAX_FORMAT),
        packed((member(OBJECT + "x" * 200), b"x"), kind=tarfile.GNU_FORMAT),
        packed((member(OBJECT), b"x"), (member(OBJECT), b"x")),
        packed((member(INDEX, len(ENTRY)), ENTRY)),  # an entry without its object
        packed((member(INDEX, 5), b"entry")),
        member(OBJECT, 1 << 33).tobuf(tarfile.GNU_FORMAT) + bytes(4096),  # a size bomb
        member(OBJECT, 5 << 20).tobuf(tarfile.USTAR_FORMAT) + bytes((5 << 20) + 1024),
        bytes(archive.LARGEST + 1),
    ],
    ids=lambda data: hashlib.sha256(data).hexdigest()[:8],
)
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        archive.loads(data)
    assert caught.value.exit_code == 10
    assert len(str(caught.value)) < 500


def test_padding_that_says_something_is_malformed() -> None:
    place = WHOLE.rindex(b"body") + 20
    assert WHOLE[place] == 0
    with pytest.raises(EvidenceFormatError):
        archive.loads(WHOLE[:place] + b"x" + WHOLE[place + 1 :])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(place: int, change: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] ^= change
    with pytest.raises(EvidenceFormatError):
        archive.loads(bytes(damaged))


@given(st.binary(max_size=2000))
def test_only_our_error_escapes_from_anything(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        archive.loads(data)


@given(
    st.builds(
        Kept,
        st.text(st.characters(codec="utf-8"), max_size=50),
        st.builds(Answer, st.binary(min_size=1, max_size=600), st.binary(max_size=600)),
        st.just(START),
        st.just(NOW),
        st.text(st.characters(codec="ascii"), max_size=20),
    )
)
def test_every_archive_comes_back(kept: Kept) -> None:
    assert archive.loads(archive.dumps([kept])) == (kept,)
