from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from attestation.eventlog import log
from images.measure import pcr, pe, uki
from images.measure.errors import MeasureError, PeError, UkiError
from tests import vectors
from tests.fakes import pe as fakes

MEASURE = Path("/usr/lib/systemd/systemd-measure")
UKI = uki.parse(fakes.uki())
# Those that systemd-measure of Debian 12 (systemd 252) knows.
KNOWN = {
    ".linux": "linux",
    ".osrel": "osrel",
    ".cmdline": "cmdline",
    ".initrd": "initrd",
    ".splash": "splash",
    ".dtb": "dtb",
    ".pcrpkey": "pcrpkey",
}


def extend(events: Sequence[bytes], algorithm: str = "sha256") -> bytes:
    value = bytes(hashlib.new(algorithm).digest_size)
    for event in events:
        value = hashlib.new(algorithm, value + event).digest()
    return value


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    "phases", [(), ("enter-initrd",), ("enter-initrd", "leave-initrd", "sysinit", "ready")]
)
@pytest.mark.parametrize("extra", [{}, {".splash": b"BM" * 70, ".dtb": b"dtb", ".pcrpkey": b"-----BEGIN"}])
def test_register_11_is_that_of_systemd_measure(
    tmp_path: Path, phases: tuple[str, ...], extra: dict[str, bytes]
) -> None:
    if not MEASURE.is_file():
        pytest.skip(f"no {MEASURE} (apt install systemd)")
    image = uki.parse(fakes.uki({".sbat": None, ".uname": None, **extra}))
    command = [str(MEASURE), "calculate", "--json=short", f"--phase={':'.join(phases)}"]
    for name, data in image.sections.items():
        (tmp_path / name).write_bytes(data)
        command.append(f"--{KNOWN[name]}={tmp_path / name}")
    for algorithm in pcr.ALGORITHMS:
        done = subprocess.run([*command, f"--bank={algorithm}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        theirs = json.loads(done.stdout)[algorithm]
        (value,) = [row["hash"] for row in theirs]
        assert pcr.image_contents(image, algorithm, phases).hex() == value


def test_register_11_takes_sections_in_the_order_of_the_stub() -> None:
    shuffled = dict(reversed(list(UKI.sections.items())))
    image = uki.parse(fakes.image([(".sdmagic", fakes.MAGIC), *shuffled.items()]))
    assert pcr.image_contents(image, "sha256") == pcr.image_contents(UKI, "sha256")


@pytest.mark.parametrize("name", [".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat"])
def test_register_11_depends_on_every_section(name: str) -> None:
    changed = uki.parse(fakes.uki({name: UKI.sections[name] + b"x"}))
    assert pcr.image_contents(changed, "sha256") != pcr.image_contents(UKI, "sha256")


def test_signature_of_the_measurement_is_no_part_of_it() -> None:
    signed = uki.parse(fakes.uki({".pcrsig": b"{}"}))
    assert pcr.image_contents(signed, "sha256") == pcr.image_contents(UKI, "sha256")
    assert pcr.kernel_inputs(signed, "sha256") != pcr.kernel_inputs(UKI, "sha256")


def test_old_stub_leaves_sections_alone_that_it_does_not_know() -> None:
    magic = fakes.MAGIC.replace(b"257.13-1", b"252.39-1")
    old = uki.parse(fakes.uki({".sdmagic": magic}))
    assert old.sections.keys() == {".linux", ".osrel", ".cmdline", ".initrd"}
    without = uki.parse(fakes.uki({".sdmagic": magic, ".uname": None, ".sbat": None}))
    assert pcr.image_contents(old, "sha256") == pcr.image_contents(without, "sha256")


def test_register_4_is_the_image_and_the_kernel_that_firmware_loads() -> None:
    own, kernel = (
        pe.authenticode(image, "sha256") for image in (UKI.image, pe.parse(UKI.sections[".linux"]))
    )
    before = [sha256(b"Calling EFI Application from Boot Option"), sha256(bytes(4))]
    assert pcr.boot_programs(UKI, "sha256", secure_boot=False) == extend([*before, own, kernel])
    assert pcr.boot_programs(UKI, "sha256", secure_boot=True) == extend([*before, own])
    new = uki.parse(fakes.uki({".sdmagic": fakes.MAGIC.replace(b"257", b"258")}))
    own = pe.authenticode(new.image, "sha256")
    assert pcr.boot_programs(new, "sha256", secure_boot=False) == extend([*before, own])


def test_events_of_register_4_are_those_of_a_real_log() -> None:
    case = next((case for case in vectors.load("tpmlog") if case.id == "eventlog/tpm-cos-101-amd-sev"), None)
    if case is None:
        pytest.skip(vectors.ABSENT)
    events = [event for event in log.parse(case.read("log")).events if event.register == 4]
    for algorithm in ("sha1", "sha256", "sha384"):
        found = [event.digests[algorithm] for event in events[:2]]
        assert found == [hashlib.new(algorithm, data).digest() for data in (pcr.CALLING, pcr.SEPARATOR)]


def test_register_9_is_what_the_kernel_is_given() -> None:
    options = "console=ttyS0 quiet\0".encode("utf-16-le")
    osrel = (
        b"070701"
        b"00000001"
        b"0000416d" + b"00000000" * 2 + b"00000001" + b"00000000" * 6 + b"00000007"
        b"00000000"
        b".extra\0\0\0\0"
    )
    initrd = uki.combined_initrd(UKI)
    assert initrd.startswith(UKI.sections[".initrd"])
    assert osrel.rstrip(b"\0") in initrd
    assert len(initrd) % 4 == 0
    assert pcr.kernel_inputs(UKI, "sha256") == extend([sha256(options), sha256(initrd)])


def test_archive_beside_the_initrd_is_one_that_cpio_reads(tmp_path: Path) -> None:
    image = uki.parse(fakes.uki({".initrd": None, ".pcrsig": b"{}", ".pcrpkey": b"key"}))
    for archive in uki.combined_initrd(image).split(b"TRAILER!!!\0\0\0\0")[:-1]:
        done = subprocess.run(
            ["cpio", "-i", "-d", "--quiet"],
            cwd=tmp_path,
            input=archive + b"TRAILER!!!\0\0\0\0",
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    files = {path.name: path.read_bytes() for path in (tmp_path / ".extra").iterdir()}
    assert files == {
        "os-release": b"ID=shim\n",
        "tpm2-pcr-signature.json": b"{}",
        "tpm2-pcr-public-key.pem": b"key",
    }


def test_only_initrd_is_handed_on_as_it_is() -> None:
    image = uki.parse(fakes.uki({".osrel": None, ".initrd": b"odd"}))
    assert uki.combined_initrd(image) == b"odd"
    nothing = uki.parse(fakes.uki({".osrel": None, ".initrd": None}))
    assert pcr.kernel_inputs(nothing, "sha256") == extend(
        [sha256("console=ttyS0 quiet\0".encode("utf-16-le"))]
    )


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (b"  a\tb\n", "a b"),
        (b"a\0\0", "a"),
        (b"a  b", "a  b"),
        (b"\n\n", ""),
        (b"a\x7fb\x1f", "a b"),
        ("ä".encode(), "ä"),
    ],
)
def test_command_line_is_tidied_as_the_stub_does(section: bytes, line: str) -> None:
    assert uki.kernel_command_line(uki.parse(fakes.uki({".cmdline": section}))) == line


@pytest.mark.parametrize("section", [b"\xff", b"a\0b", "\U0001f600".encode()])
def test_command_line_that_is_no_such_text_is_refused(section: bytes) -> None:
    image = uki.parse(fakes.uki({".cmdline": section}))
    with pytest.raises(UkiError, match=r"section \.cmdline"):
        pcr.kernel_inputs(image, "sha256")
    with pytest.raises(UkiError):
        pcr.outside_inputs(UKI, "sha256", options=section.rstrip(b"\0") or b"\0")


def test_space_at_the_beginning_is_refused_where_stubs_differ() -> None:
    magic = fakes.MAGIC.replace(b"257", b"256")
    assert uki.kernel_command_line(uki.parse(fakes.uki({".sdmagic": magic, ".cmdline": b"a \n"}))) == "a"
    for line in (b" a", b"\na", b"\ta"):
        with pytest.raises(UkiError, match="at its beginning"):
            uki.kernel_command_line(uki.parse(fakes.uki({".sdmagic": magic, ".cmdline": line})))


def test_image_without_a_command_line_needs_one_from_outside() -> None:
    image = uki.parse(fakes.uki({".cmdline": None}))
    with pytest.raises(UkiError, match="no command line"):
        pcr.kernel_inputs(image, "sha256")
    assert pcr.kernel_inputs(image, "sha256", options=b"console=ttyS0 quiet") == pcr.kernel_inputs(
        UKI, "sha256"
    )


def test_register_12_is_what_was_given_from_outside() -> None:
    assert pcr.outside_inputs(UKI, "sha384") == bytes(48)
    given_line = extend([sha256("a\0".encode("utf-16-le"))])
    assert pcr.outside_inputs(UKI, "sha256", options=b"a\n") == given_line


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        ({".linux": None}, r"section \.linux: found no such section"),
        ({".linux": b""}, r"section \.linux"),
        ({".sdmagic": None}, "no systemd-stub"),
        ({".sdmagic": b"#### LoaderInfo: systemd-boot 257 ####\0"}, "no systemd-stub"),
        (
            {".sdmagic": fakes.MAGIC.replace(b"257", b"251")},
            "found systemd-stub 251, want systemd-stub 252 or 254 to 262",
        ),
        ({".sdmagic": fakes.MAGIC.replace(b"257", b"253")}, "systemd-stub 253"),
        ({".sdmagic": fakes.MAGIC.replace(b"257", b"263")}, "systemd-stub 263"),
        ({".profile": b"ID=main\n"}, "chosen at boot"),
        ({".dtbauto": b"dtb"}, "chosen at boot"),
        ({".hwids": b"x"}, "chosen at boot"),
        ({".efifw": b"x"}, "chosen at boot"),
    ],
)
def test_image_that_cannot_be_predicted_is_refused(overrides: dict[str, bytes | None], match: str) -> None:
    with pytest.raises(UkiError, match=match):
        uki.parse(fakes.uki(overrides))


def test_section_that_stands_twice_or_is_not_all_in_the_file_is_refused() -> None:
    rows = [(".sdmagic", fakes.MAGIC), *UKI.sections.items()]
    with pytest.raises(UkiError, match="a second section"):
        uki.parse(fakes.image([*rows, (".cmdline", b"init=/bin/sh")]))
    with pytest.raises(UkiError, match="want all of them"):
        uki.parse(fakes.image(rows, virtual={".initrd": 1 << 20}))


def test_kernel_inside_must_be_a_program_where_firmware_loads_it() -> None:
    image = uki.parse(fakes.uki({".linux": b"no PE image"}))
    pcr.boot_programs(image, "sha256", secure_boot=True)
    with pytest.raises(PeError):
        pcr.boot_programs(image, "sha256", secure_boot=False)


@given(
    st.dictionaries(
        st.sampled_from([".cmdline", ".sdmagic", ".osrel", ".linux", ".initrd"]), st.binary(max_size=80)
    )
)
def test_only_our_error_escapes(sections: dict[str, bytes]) -> None:
    try:
        image = uki.parse(fakes.uki(sections))
        pcr.kernel_inputs(image, "sha1")
        pcr.boot_programs(image, "sha1", secure_boot=False)
        pcr.image_contents(image, "sha1")
    except MeasureError as error:
        assert error.want
