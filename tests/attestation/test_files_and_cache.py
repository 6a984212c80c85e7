from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509

from attestation import cache as caches, der
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError, PolicyError, SignatureError
from attestation.files import find_endorsements, read_endorsements, read_limited, read_policy
from tests.fakes.amd import Amd, Chip

LEAF, ASK, ARK = Amd().chain(Chip())


def test_directory_gives_what_looks_like_endorsements(tmp_path: Path) -> None:
    for name, data in (("leaf.der", LEAF), ("ASK.CER", ASK), ("ark.crt", ARK), ("README", b"text")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.pem").mkdir()
    assert set(read_endorsements([tmp_path]).certificates) == {LEAF, ASK, ARK}


def test_everything_in_a_directory_is_read_or_named(tmp_path: Path) -> None:
    quote = json.dumps({"message": "00", "signature": "00", "pcrs": []}).encode()
    whole = json.dumps({"hcl_report": "00", "tpm_quote": {}, "td_quote": ""}).encode()
    contents = {"ark.der": ARK, "hcl_report.bin": b"HCLA", "tpm_quote.json": quote, "evidence.json": whole}
    for name, data in {**contents, "manifest.xml": b"<a/>", "vcek": LEAF, ".hidden.pem": ASK}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "more.pem").mkdir()
    found = find_endorsements([tmp_path])
    assert found.endorsements == Endorsements((ASK, ARK), manifests=(b"<a/>",))
    left = ["evidence.json", "hcl_report.bin", "more.pem", "tpm_quote.json", "vcek"]
    assert [one.name for one in found.left] == left


@pytest.mark.parametrize(
    "members", [{"message": "00", "signature": "00"}, {"hcl_report": "00"}, {"tpm_quote": {}}, {}]
)
def test_what_is_neither_is_refused_by_its_name(tmp_path: Path, members: dict[str, object]) -> None:
    (tmp_path / "ark.der").write_bytes(ARK)
    (tmp_path / "other.json").write_text(json.dumps(members))
    with pytest.raises(EvidenceFormatError, match=r"other\.json"):
        find_endorsements([tmp_path])


def test_evidence_that_is_named_as_an_endorsement_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tpm_quote.json"
    path.write_text(json.dumps({"message": "00", "signature": "00", "pcrs": []}))
    with pytest.raises(EvidenceFormatError, match=r"tpm_quote\.json"):
        find_endorsements([path])


def test_file_that_is_named_is_read_whatever_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "certificate"
    path.write_bytes(LEAF)
    assert read_endorsements([path, path]).certificates == (LEAF,)


def test_malformed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.pem"
    path.write_bytes(b"nothing")
    with pytest.raises(EvidenceFormatError, match=r"broken\.pem"):
        read_endorsements([tmp_path])


@pytest.mark.parametrize(("size", "is_read"), [(9, True), (10, True), (11, False)])
def test_limit_is_inclusive(tmp_path: Path, size: int, is_read: bool) -> None:  # noqa: FBT001
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    if is_read:
        assert len(read_limited(path, "evidence", 10)) == size
    else:
        with pytest.raises(EvidenceFormatError, match="11 bytes"):
            read_limited(path, "evidence", 10)


def test_endless_file_is_refused() -> None:
    with pytest.raises(EvidenceFormatError, match="more than 10 bytes"):
        read_limited(Path("/dev/zero"), "evidence", 10)


def test_missing_file_is_an_error_of_its_kind(tmp_path: Path) -> None:
    with pytest.raises(EvidenceFormatError, match="No such file"):
        read_limited(tmp_path / "none", "evidence")
    with pytest.raises(PolicyError):
        read_policy(tmp_path / "none")


def test_what_one_check_accepted_another_may_refuse() -> None:
    cache = caches.Cache()
    leaf, above = cache.certificate(LEAF), cache.certificate(ASK)
    cache.check_rsa_pss_sha384(leaf.signed, above, "leaf")
    for check in (cache.check_signed, cache.check_ecdsa):
        with pytest.raises(SignatureError):
            check(leaf.signed, above, "leaf")


def test_cache_remembers_and_forgets() -> None:
    cache = caches.Cache()
    assert cache.certificate(LEAF) is cache.certificate(LEAF)
    facts = dict.fromkeys(map(bytes, range(4096)))
    assert caches._remember(facts, b"new", None) is None
    assert list(facts) == [b"new"]


@pytest.mark.parametrize("data", [b"\x30", b"\x30\x01", b"\x30\x80", b"\x30\x85\0\0\0\0\0", b"\x02\x01\x00"])
def test_structure_that_does_not_end_is_malformed(data: bytes) -> None:
    with pytest.raises(EvidenceFormatError):
        der.split(data, "file")
    with pytest.raises(EvidenceFormatError):
        der.innermost_tag(data[:3], "file")


@pytest.mark.parametrize("encoded", [ASK, ARK, Amd().crl([5, 6])])
def test_what_is_signed_is_taken_as_it_stands(encoded: bytes) -> None:
    if encoded in {ASK, ARK}:
        want = x509.load_der_x509_certificate(encoded).tbs_certificate_bytes
    else:
        want = x509.load_der_x509_crl(encoded).tbs_certlist_bytes
    assert der.first_inside(encoded, "a test") == want
    for size in range(len(want)):
        with pytest.raises(EvidenceFormatError):
            der.first_inside(encoded[:size], "a test")
