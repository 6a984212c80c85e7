"""What a guest asks of a TPM, and a TPM of a relying party: our C and our Python against swtpm and tpm2-tools, both ways."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from attestation.tpm import credential, evidence, public_area
from attestation.tpm.credential import Target
from attestation.tpm.evidence import Evidence
from tests.fakes import manufacture, swtpm
from tests.fakes.manufacture import Made
from tests.fakes.swtpm import Software
from tests.native.test_guest_library import Fault

TOOLS = (
    "tpm2_createek",
    "tpm2_createak",
    "tpm2_makecredential",
    "tpm2_activatecredential",
    "tpm2_checkquote",
)
MISSING = [one for one in TOOLS if shutil.which(one) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} ({manufacture.PACKAGES})"
)
REPORT_DATA = bytes(range(64))
SECRET = bytes(range(32))
_TPM_SIZE, _ROOM = 1 << 15, 16384
_HEAD = bytes.fromhex("badcc0de00000001")  # of the tools' own files


class RefusedError(Exception):
    """A fault of the guest's, in its words."""


@dataclass
class Attester:
    """The guest's side, on one connection."""

    lib: ctypes.CDLL
    software: Software
    room: ctypes.Array[ctypes.c_char]

    def call(self, name: str, *arguments: object) -> None:
        fault = Fault()
        if self.lib[name](self.room, *arguments, ctypes.byref(fault)) != 0:
            raise RefusedError(str(fault))

    def collect(self) -> Evidence:
        room, size = ctypes.create_string_buffer(_ROOM), ctypes.c_size_t()
        self.call("tpm2_collect", REPORT_DATA, room, ctypes.byref(size))
        self.text = room.raw[: size.value]
        return evidence.parse(self.text)

    def activate(self, data: bytes) -> bytes:
        secret = ctypes.create_string_buffer(32)
        self.call("tpm2_activate", data, ctypes.c_size_t(len(data)), secret)
        return secret.raw


@pytest.fixture(scope="module")
def lib(guest_build: Callable[[str], Path]) -> ctypes.CDLL:
    return ctypes.CDLL(str(guest_build("guest-library") / "libguest.so"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return manufacture.made(tmp_path_factory.mktemp("made"))


@pytest.fixture(params=["rsa", "ecc"])
def software(request: pytest.FixtureRequest, made: Made, tmp_path: Path) -> Iterator[Software]:
    """A TPM whose endorsement key is an RSA key, or one that has one on P-256 too."""
    with made.powered(tmp_path) as software:
        if request.param == "ecc":
            manufacture.certify_ecc(software, tmp_path)
        yield software


@contextmanager
def attester(lib: ctypes.CDLL, software: Software) -> Iterator[Attester]:
    found = Attester(lib, software, ctypes.create_string_buffer(_TPM_SIZE))
    found.call("tpm2_begin", software.link.fileno())
    try:
        yield found
    finally:
        lib.tpm2_end(found.room)


def parts(text: bytes) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in json.loads(text).items()}


def target(text: bytes) -> Target:
    found = parts(text)
    return Target(public_area.parse_storage(found["ek_public"]), public_area.parse(found["ak_public"]).name)


def test_a_quote_is_about_the_report_data(lib: ctypes.CDLL, software: Software, tmp_path: Path) -> None:
    with attester(lib, software) as guest:
        found = guest.collect()
        assert found.quote.attest.extra_data == hashlib.sha256(REPORT_DATA).digest()
        assert sorted(found.quote.pcrs) == list(range(24))
        # The same to the last byte, so that a digest of it can be compared.
        assert (
            guest.text == json.dumps(json.loads(guest.text), sort_keys=True, separators=(",", ":")).encode()
        )
    for name, value in parts(guest.text).items():
        (tmp_path / name).write_bytes(value)
    (tmp_path / "ak.tss").write_bytes(swtpm.sized(parts(guest.text)["ak_public"]))
    registers = "sha256:" + ",".join(map(str, range(24)))
    software.tool("tpm2_pcrread", "-Q", registers, "-o", "pcrs", "-F", "serialized", cwd=tmp_path)
    done = subprocess.run(
        [
            "tpm2_checkquote", "-u", "ak.tss", "-m", "quote", "-s", "signature", "-f", "pcrs",
            "-q", hashlib.sha256(REPORT_DATA).hexdigest(), "-g", "sha256",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_keys_are_those_that_others_make(lib: ctypes.CDLL, software: Software, tmp_path: Path) -> None:
    with attester(lib, software) as guest:
        guest.collect()
    found = parts(guest.text)
    kind = "rsa" if found["ek_public"][:2] == b"\0\1" else "ecc"
    software.tool("tpm2_createek", "-Q", "-G", kind, "-c", "ek.ctx", "-u", "ek.pub", cwd=tmp_path)
    assert (tmp_path / "ek.pub").read_bytes() == swtpm.sized(found["ek_public"])
    software.tool("tpm2_flushcontext", "-t", cwd=tmp_path)
    with attester(lib, software) as again:
        again.collect()
    assert parts(again.text)["ak_public"] == found["ak_public"]


def test_no_key_is_left_behind(lib: ctypes.CDLL, software: Software, tmp_path: Path) -> None:
    with attester(lib, software) as guest:
        guest.collect()
        made = credential.make(target(guest.text), SECRET, os.urandom)
        guest.activate(made)
    for kind in ("transient", "loaded-session", "saved-session"):
        assert software.tool("tpm2_getcap", f"handles-{kind}", cwd=tmp_path) == "", kind


def test_a_credential_opens(lib: ctypes.CDLL, software: Software) -> None:
    with attester(lib, software) as guest:
        guest.collect()
        made = credential.make(target(guest.text), SECRET, os.urandom)
        assert guest.activate(made) == SECRET
        assert guest.activate(made) == SECRET


def test_a_credential_of_the_usual_tools_opens(lib: ctypes.CDLL, software: Software, tmp_path: Path) -> None:
    with attester(lib, software) as guest:
        guest.collect()
        (tmp_path / "ek.tss").write_bytes(swtpm.sized(parts(guest.text)["ek_public"]))
        (tmp_path / "secret").write_bytes(SECRET)
        name = target(guest.text).name.hex()
        subprocess.run(
            ["tpm2_makecredential", "-Q", "-T", "none", "-u", "ek.tss", "-s", "secret", "-n", name, "-o", "made"],
            cwd=tmp_path, check=True,
        )  # fmt: skip
        assert guest.activate((tmp_path / "made").read_bytes()[len(_HEAD) :]) == SECRET


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_the_usual_tools_open_our_credential(made: Made, tmp_path: Path, kind: str) -> None:
    with made.powered(tmp_path) as software:
        software.tool("tpm2_createek", "-Q", "-G", kind, "-c", "ek.ctx", "-u", "ek.pub", cwd=tmp_path)
        software.tool(
            "tpm2_createak", "-Q", "-C", "ek.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa",
            "-c", "ak.ctx", "-u", "ak.pub", "-n", "ak.name", cwd=tmp_path,
        )  # fmt: skip
        software.tool("tpm2_flushcontext", "-t", cwd=tmp_path)
        endorsement = public_area.parse_storage((tmp_path / "ek.pub").read_bytes())
        name = (tmp_path / "ak.name").read_bytes()
        assert public_area.parse((tmp_path / "ak.pub").read_bytes()).name == name
        data = credential.make(Target(endorsement, name), SECRET, os.urandom)
        (tmp_path / "made").write_bytes(_HEAD + data)
        software.tool("tpm2_startauthsession", "--policy-session", "-S", "session", cwd=tmp_path)
        software.tool("tpm2_policysecret", "-Q", "-S", "session", "-c", "e", cwd=tmp_path)
        software.tool(
            "tpm2_activatecredential", "-Q", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "made", "-o", "secret",
            "-P", "session:session", cwd=tmp_path,
        )  # fmt: skip
        assert (tmp_path / "secret").read_bytes() == SECRET


def test_larger_keys_open_credentials_too(made: Made, tmp_path: Path) -> None:
    """As the endorsement keys of newer TPMs are: P-384, SHA-384, AES with 256 bits; without their policies."""
    storage = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
    signing = storage.replace("decrypt", "sign")
    with made.powered(tmp_path) as software:
        for name, kind, hash_name, attributes in (
            ("ek", "ecc384:null:aes256cfb", "sha384", storage),
            ("ak", "ecc256:ecdsa-sha256:null", "sha256", signing),
        ):
            software.tool(
                "tpm2_createprimary", "-Q", "-C", "e", "-G", kind, "-g", hash_name, "-a", attributes, "-c", f"{name}.ctx",
                cwd=tmp_path,
            )  # fmt: skip
            software.tool("tpm2_flushcontext", "-t", cwd=tmp_path)
            software.tool("tpm2_readpublic", "-Q", "-c", f"{name}.ctx", "-o", f"{name}.pub", cwd=tmp_path)
            software.tool("tpm2_flushcontext", "-t", cwd=tmp_path)
        endorsement = public_area.parse_storage((tmp_path / "ek.pub").read_bytes())
        name = public_area.parse((tmp_path / "ak.pub").read_bytes()).name
        data = credential.make(Target(endorsement, name), SECRET, os.urandom)
        (tmp_path / "made").write_bytes(_HEAD + data)
        software.tool(
            "tpm2_activatecredential", "-Q", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "made", "-o", "secret", cwd=tmp_path
        )  # fmt: skip
        assert (tmp_path / "secret").read_bytes() == SECRET


def test_a_credential_for_another_key_opens_nothing(lib: ctypes.CDLL, software: Software) -> None:
    """Neither for an attestation key that is not in this TPM nor for another TPM; and no session stays open."""
    with attester(lib, software) as guest:
        guest.collect()
        good = target(guest.text)
        other = Target(good.endorsement, good.name[:-1] + bytes([good.name[-1] ^ 1]))
        for _ in range(4):  # a TPM has room for three sessions
            with pytest.raises(
                RefusedError, match=r"^TPM2_ActivateCredential: found 0x1df, want response code 0"
            ):
                guest.activate(credential.make(other, SECRET, os.urandom))
        assert guest.activate(credential.make(good, SECRET, os.urandom)) == SECRET


def test_no_changed_credential_opens(lib: ctypes.CDLL, software: Software) -> None:
    with attester(lib, software) as guest:
        guest.collect()
        data = credential.make(target(guest.text), SECRET, os.urandom)
        for at in range(0, len(data), 7):
            changed = bytearray(data)
            changed[at] ^= 1
            with pytest.raises(RefusedError):
                guest.activate(bytes(changed))
        assert guest.activate(data) == SECRET


@pytest.mark.parametrize(
    "data", [b"", b"\0", bytes(4), b"\0\1a", b"\0\1a\0\0", b"\0\1a\0\1", b"\0\1a\0\1bc"], ids=bytes.hex
)
def test_what_is_no_credential_never_gets_to_the_tpm(lib: ctypes.CDLL, data: bytes) -> None:
    nobody = Attester(lib, None, ctypes.create_string_buffer(_TPM_SIZE))  # type: ignore[arg-type]
    want = f"credential: found {len(data)}, want TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET"
    with pytest.raises(RefusedError, match=f"^{want}$"):
        nobody.activate(data)


@pytest.mark.parametrize("size", [0, 16, 31])
def test_a_secret_of_another_size_is_none(lib: ctypes.CDLL, software: Software, size: int) -> None:
    with attester(lib, software) as guest:
        guest.collect()
        with pytest.raises(RefusedError, match=rf"^credential.secret: found {size}, want 32 bytes$"):
            guest.activate(credential.make(target(guest.text), SECRET[:size], os.urandom))


def test_a_tpm_of_no_maker_is_refused(lib: ctypes.CDLL, tmp_path: Path) -> None:
    with swtpm.started(tmp_path) as software:
        want = "endorsement certificate: found none, want one at index 0x01c0000a or 0x01c00002"
        with pytest.raises(RefusedError, match=f"^{want}$"), attester(lib, software):
            pass


def test_a_tpm_that_hangs_up_is_named(lib: ctypes.CDLL) -> None:
    left, right = swtpm.socket.socketpair()
    right.close()
    with left, pytest.raises(RefusedError, match=r"^TPM2_NV_ReadPublic: "):
        Attester(lib, None, ctypes.create_string_buffer(_TPM_SIZE)).call("tpm2_begin", left.fileno())  # type: ignore[arg-type]


def test_no_response_reads_beyond_its_end(guest_build: Callable[[str], Path]) -> None:
    """ASan and UBSan; good responses among them have to lead to the secret."""
    program = guest_build("sanitized-tpm") / "tpm2-sanitized"
    subprocess.run([program, "--generate", "2"], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 20000, 262143])
def test_an_event_log_is_read_whole(lib: ctypes.CDLL, tmp_path: Path, size: int) -> None:
    path, data = tmp_path / "log", os.urandom(size)
    path.write_bytes(data)
    room, found, fault = ctypes.create_string_buffer(1 << 18), ctypes.c_size_t(), Fault()
    done = lib.event_log_read(str(path).encode(), room, ctypes.byref(found), ctypes.byref(fault))
    assert done == (0 if size else -1)
    assert room.raw[: found.value] == data
    assert size or str(fault) == "event log: found nothing, want some"


def test_an_event_log_has_an_end(lib: ctypes.CDLL, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(1 << 18))
    for name, want in ((path, "found 262144, want less than 256 KiB"), (tmp_path / "none", "found errno 2")):
        room, found, fault = ctypes.create_string_buffer(1 << 18), ctypes.c_size_t(), Fault()
        done = lib.event_log_read(str(name).encode(), room, ctypes.byref(found), ctypes.byref(fault))
        assert done == -1
        assert str(fault).startswith(f"event log: {want}")
