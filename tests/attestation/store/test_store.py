"""What is kept stays what it was, or is not there."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from attestation.errors import NotAuthenticError, SignatureError, ValidityError
from attestation.snp import kds
from attestation.snp.products import MILAN
from attestation.store import entry as entries
from attestation.store.entry import Kept
from attestation.store.files import StoreError
from attestation.store.store import Store
from attestation.wanted import Answer
from tests.fakes import amd
from tests.fakes.amd import NOW, START, Amd, Chip
from tests.fakes.service import pem

AMD, CHIP = Amd(), Chip()
LEAF, ASK, ARK = AMD.chain(CHIP)
ABOVE = pem(ASK, ARK)
LIST = AMD.crl()
DAY = timedelta(days=1)
VCEK = kds.Vcek(MILAN, CHIP.hwid, CHIP.tcb, AMD.roots)
CRL = kds.RevocationList(MILAN, roots=AMD.roots)
CHAIN = kds.CertificateChain(MILAN, roots=AMD.roots)


def kept(wanted: kds.Vcek | kds.RevocationList = VCEK, body: bytes = LEAF, etag: str = "") -> Kept:
    return Kept(
        wanted.url, Answer(body, ABOVE), START, NOW, "https://mirror.example.com/x", etag, "yesterday"
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "a" / "store")


def test_what_is_kept_is_found(store: Store) -> None:
    assert store.find(VCEK.url) is None
    store.keep(kept(etag='"1"'))
    assert store.find(VCEK.url) == kept(etag='"1"')
    assert list(store.everything()) == [kept(etag='"1"')]
    store.keep(kept(etag='"2"'))
    assert store.find(VCEK.url) == kept(etag='"2"')


@pytest.mark.parametrize("folder", ["index", "objects"])
def test_what_is_no_file_is_not_waited_for(store: Store, folder: str) -> None:
    """A pipe has no end, and one without a writer says nothing; neither is an entry nor an object."""
    store.keep(kept())
    for path in (store.root / folder).iterdir():
        path.unlink()
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDWR)
        try:
            assert store.find(VCEK.url) is None
            assert list(store.everything()) == []
        finally:
            os.close(descriptor)
        assert store.find(VCEK.url) is None


def test_only_the_owner_may_look(store: Store) -> None:
    store.keep(kept())
    for path in (store.root.parent, store.root, *store.root.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_the_same_object_is_there_once(store: Store) -> None:
    store.keep(kept())
    store.keep(kept(CRL, LIST))
    names = sorted(path.name for path in (store.root / "objects").iterdir())
    assert names == sorted(hashlib.sha256(data).hexdigest() for data in (LEAF, ABOVE, LIST))


def damages(path: Path) -> list[bytes]:
    data = path.read_bytes()
    flipped = bytes([*data[:-9], data[-9] ^ 1, *data[-8:]])
    return [b"", data[:-1], data + b"\n", flipped, bytes(len(data)), b"{}"]


@pytest.mark.parametrize("folder", ["objects", "index"])
@pytest.mark.parametrize("damage", range(6))
def test_damage_counts_as_absence_and_is_repaired(store: Store, folder: str, damage: int) -> None:
    store.keep(kept())
    for path in (store.root / folder).iterdir():
        good = path.read_bytes()
        path.write_bytes(damages(path)[damage])
        assert store.find(VCEK.url) is None
        assert list(store.everything()) == []
        assert store.supply([VCEK])[1] == (VCEK,)
        store.keep(kept())
        assert path.read_bytes() == good
        assert store.find(VCEK.url) == kept()


def test_what_is_no_file_counts_as_absent(store: Store, tmp_path: Path) -> None:
    store.keep(kept())
    path = store.root / "objects" / hashlib.sha256(LEAF).hexdigest()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(LEAF)
    for make in (lambda: path.symlink_to(elsewhere), lambda: os.mkfifo(path), path.mkdir):
        path.unlink()
        make()
        assert store.find(VCEK.url) is None
        if path.is_dir():
            path.rmdir()
            path.touch()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert store.find(VCEK.url) is None


def test_entry_under_another_name_counts_as_absent(store: Store) -> None:
    store.keep(kept())
    index = store.root / "index"
    (index / entries.name(VCEK.url)).rename(index / entries.name(CRL.url))
    assert store.find(CRL.url) is None
    assert list(store.everything()) == []


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="want a place that can be written"):
        Store(tmp_path / "file" / "store").keep(kept())


def test_only_right_answers_are_admitted(store: Store) -> None:
    admitted = store.admit(VCEK, kept(), NOW)
    assert admitted.issued == START
    with pytest.raises(SignatureError):
        store.admit(CRL, kept(CRL, AMD.crl(key=amd.rsa_key("stranger"))), NOW)
    with pytest.raises(ValidityError):
        store.admit(CRL, kept(CRL, AMD.crl(end=NOW - DAY)), NOW)
    assert list(store.everything()) == [admitted]


def test_older_list_does_not_take_the_place_of_a_newer(store: Store) -> None:
    newer, older = AMD.crl(start=NOW - 2 * DAY), AMD.crl(start=NOW - 3 * DAY)
    store.admit(CRL, kept(CRL, newer), NOW)
    late = replace(kept(CRL, older), fetched=NOW + 900 * DAY, issued=NOW + 900 * DAY)
    with pytest.raises(NotAuthenticError, match=r"found one of 2025-05-29.*want none before 2025-05-30"):
        store.admit(CRL, late, NOW)
    assert store.find(CRL.url) is not None
    store.admit(CRL, kept(CRL, AMD.crl(start=NOW - DAY)), NOW)


def test_supply_gives_what_there_is_and_names_the_rest(store: Store) -> None:
    store.keep(kept())
    endorsements, missing = store.supply([CHAIN, VCEK, CRL])
    assert set(endorsements.certificates) == {LEAF, ASK, ARK}
    assert missing == (CHAIN, CRL)


def test_objects_without_an_entry_are_removed_when_they_are_old(store: Store) -> None:
    store.keep(kept(CRL, AMD.crl(start=NOW - 2 * DAY)))
    store.keep(kept(CRL, AMD.crl(start=NOW - DAY)))
    objects = store.root / "objects"
    for path in objects.iterdir():
        os.utime(path, (0, (NOW - timedelta(minutes=59)).timestamp()))
    assert store.prune(NOW) == 0
    assert store.prune(NOW + DAY) == 1
    assert len(list(objects.iterdir())) == 2
    assert store.find(CRL.url) is not None


_MANY = """
import sys
from pathlib import Path
from datetime import datetime, UTC
from attestation.store.entry import Kept
from attestation.store.store import Store
from attestation.wanted import Answer
store, me, at = Store(Path(sys.argv[1])), sys.argv[2].encode(), datetime(2025, 6, 1, tzinfo=UTC)
for number in range(150):
    body = me * 2000 + b"%d" % number
    store.keep(Kept("https://example.com/same", Answer(body, b"shared"), at, at, "x"))
    found = store.find("https://example.com/same")
    assert found is not None and found.answer.issuers == b"shared", "lost"
    assert found.answer.body[:1] * 2000 == found.answer.body[:2000], "torn"
"""


def test_two_processes_write_at_once(store: Store) -> None:
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", _MANY, str(store.root)]
    running = [
        subprocess.Popen([*command, me], cwd=root, stderr=subprocess.PIPE, text=True) for me in ("a", "b")
    ]
    for one in running:
        _, errors = one.communicate(timeout=60)
        assert (one.returncode, errors) == (0, "")
    assert list(store.root.rglob(".*")) == []
