"""Disks: other tools read them as we meant them, and firmware boots of them."""

from __future__ import annotations

import itertools
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from images import disk, fat, gpt, uki, vhd
from images.boot_errors import DiskError
from images.fat import Volume
from images.fat_layout import FAT32_FROM, LARGEST, Layout
from images.gpt import ESP, Partition
from images.sparse import SparseImage
from tests.fakes import pe as fakes

PROGRAM = fakes.uki()
CREATED = 1_700_000_000  # 2023-11-14 22:13:20 UTC
MIB = 1 << 20
VOLUME = Volume("ESP", 0x1234ABCD, CREATED, 2048)
TOOLS = "apt install gdisk dosfstools mtools qemu-utils"


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"no {name} ({TOOLS})")
    return found


def run(name: str, *arguments: str | Path) -> str:
    command = [tool(name), *map(str, arguments)]
    environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC", "MTOOLS_SKIP_CHECK": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(path: Path, image: SparseImage) -> Path:
    with path.open("xb") as file:
        image.write_to(file)
    return path


# --- the whole disk


@pytest.mark.parametrize("esp_size", [None, 4 * MIB, 20 * MIB, 32 * MIB, 40 * MIB, 300 * MIB])
def test_other_tools_find_the_program(tmp_path: Path, esp_size: int | None) -> None:
    image = disk.image(PROGRAM, CREATED, esp_size=esp_size)
    path = written(tmp_path / "disk.raw", image)
    assert "No problems found" in run("sgdisk", "-v", path)
    shown = run("sgdisk", "-i", "1", path)
    assert "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" in shown
    assert "'EFI System Partition'" in shown
    size = image.size - 2 * MIB
    volume = tmp_path / "volume"
    volume.write_bytes(image.to_bytes()[MIB : MIB + size])
    checked = run("fsck.vfat", "-n", "-v", volume)
    assert f"{'32' if size >= FAT32_FROM else '16'} bit entries" in checked
    assert "4 files" in checked
    inside = f"{path}@@{MIB}"
    back = tmp_path / "back.efi"
    run("mcopy", "-i", inside, f"::/{disk.BOOT_PATH}", back)
    assert back.read_bytes() == PROGRAM
    assert "2023-11-14  22:13" in run("mdir", "-i", inside, "::/EFI/BOOT")


def test_the_same_program_gives_the_same_disk_and_another_program_another() -> None:
    first, second = (disk.image(PROGRAM, CREATED) for _ in range(2))
    assert first == second
    other = disk.image(fakes.uki(**{".uname": b"6.12.1"}), CREATED)
    places = [(512 + 56, 16), (1024 + 16, 16), (MIB + 67, 4)]  # disk, partition, volume
    mine, theirs = first.to_bytes(), other.to_bytes()
    for at, size in places:
        assert mine[at : at + size] != theirs[at : at + size]
    assert disk.vhd_image(PROGRAM, CREATED) == disk.vhd_image(PROGRAM, CREATED)


def test_time_stands_only_where_files_have_one() -> None:
    first, later = (disk.image(PROGRAM, created).to_bytes() for created in (CREATED, CREATED + 86400))
    sectors = range(0, len(first), 512)
    differs = {at // 512 for at in sectors if first[at : at + 512] != later[at : at + 512]}
    layout = Layout.of(len(first) - 2 * MIB)
    directories = {(MIB + layout.place(cluster)) // 512 for cluster in (2, 3, 4)}
    assert differs == directories


def test_guids_are_of_version_8() -> None:
    data = disk.image(PROGRAM, CREATED).to_bytes()
    for at in (512 + 56, 1024 + 16):
        found = UUID(bytes_le=data[at : at + 16])
        assert (found.version, found.variant) == (8, "specified in RFC 4122")


def test_only_what_is_not_zero_is_written(tmp_path: Path) -> None:
    path = written(tmp_path / "disk.raw", disk.image(PROGRAM, CREATED, esp_size=1024 * MIB))
    assert path.stat().st_size == 1026 * MIB
    assert path.stat().st_blocks * 512 < 8 * MIB


@pytest.mark.parametrize(
    ("program", "created", "size", "where"),
    [
        (b"", CREATED, None, "boot program: PE image"),
        (b"MZ" * 100, CREATED, None, "boot program: PE image.signature"),
        (PROGRAM, 315_532_799, None, "time"),
        (PROGRAM, 4_354_819_200, None, "time"),
        (PROGRAM, -1, None, "time"),
        (PROGRAM, 1 << 80, None, "time"),
        (PROGRAM, CREATED, 0, "system partition"),
        (PROGRAM, CREATED, -MIB, "system partition"),
        (PROGRAM, CREATED, 40 * MIB + 512, "system partition"),
        (PROGRAM, CREATED, 2 * MIB, "file system"),
        (PROGRAM, CREATED, LARGEST + MIB, "file system"),
    ],
)
def test_disks_that_are_refused(program: bytes, created: int, size: int | None, where: str) -> None:
    for make in (disk.image, disk.vhd_image):
        with pytest.raises(DiskError) as caught:
            make(program, created, esp_size=size)
        assert caught.value.where == where


def test_a_program_that_does_not_fit_is_refused() -> None:
    large = fakes.uki(**{".initrd": bytes(5 * MIB)})
    with pytest.raises(DiskError, match="clusters of 512 bytes, want at most"):
        disk.image(large, CREATED, esp_size=5 * MIB)
    assert disk.image(large, CREATED).size == (33 + 2) * MIB


def test_the_size_follows_the_program() -> None:
    for mebibytes in (31, 32, 33, 61, 64):
        large = fakes.uki(**{".initrd": bytes(mebibytes * MIB)})
        made = disk.image(large, CREATED)
        assert made.size % MIB == 0
        assert len(large) < made.size < len(large) * 1.1 + 4 * MIB


# --- partition table


def partition(first: int = 2048, last: int = 4095, guid: int = 1, name: str = "one") -> Partition:
    return Partition(ESP, UUID(int=guid), first, last, name)


def header(data: bytes) -> tuple[int, ...]:
    """Return the fields of a header after its checksum was checked by hand."""
    fields: tuple[int, ...] = struct.unpack_from("<8sIIIIQQQQ16sQIII", data)
    assert fields[0] == b"EFI PART"
    assert zlib.crc32(data[:16] + bytes(4) + data[20:92]) == fields[3]
    return fields


def test_both_tables_say_the_same() -> None:
    (start, first), (behind, backup) = gpt.table((partition(),), UUID(int=7), 8192)
    assert (start, behind + len(backup)) == (0, 8192 * 512)
    primary, secondary = header(first[512:1024]), header(backup[-512:])
    assert (primary[5], primary[6]) == (secondary[6], secondary[5]) == (1, 8191)
    assert first[primary[10] * 512 :] == backup[:-512]
    assert secondary[10] * 512 == behind
    assert primary[13] == secondary[13] == zlib.crc32(backup[:-512])
    assert (primary[7], primary[8]) == (34, 8192 - 34)
    assert first[446:462] == bytes.fromhex("00000200eeffffff01000000ff1f0000")
    assert first[510:512] == b"\x55\xaa"


def test_a_disk_beyond_what_an_mbr_counts() -> None:
    first = gpt.table((), UUID(int=7), 1 << 33)[0][1]
    assert first[458:462] == b"\xff" * 4


@pytest.mark.parametrize(
    ("partitions", "sectors", "where"),
    [
        ((), 60, "disk"),
        ((partition(33, 40),), 8192, "partition one"),
        ((partition(40, 39),), 8192, "partition one"),
        ((partition(40, 8192 - 33),), 8192, "partition one"),
        ((partition(), partition(4095, 4100, 2, "two")), 8192, "partition two"),
        ((partition(), partition(1000, 2048, 2, "two")), 8192, "partition one"),
        ((partition(), partition(5000, 6000)), 8192, "partitions"),
        ((partition(name="x" * 36),), 8192, "partition " + "x" * 36),
        ((partition(name="a\0b"),), 8192, "partition a\0b"),
        ((partition(name="\ud800"),), 8192, "partition \ud800"),
        (tuple(partition(100 + n, 100 + n, n, "n") for n in range(129)), 8192, "partitions"),
    ],
)
def test_tables_that_are_refused(partitions: tuple[Partition, ...], sectors: int, where: str) -> None:
    with pytest.raises(DiskError) as caught:
        gpt.table(partitions, UUID(int=7), sectors)
    assert caught.value.where == where


# --- file system


NAMES = st.from_regex(r"[A-Z][A-Z0-9]{0,3}(\.[A-Z]{1,3})?", fullmatch=True).filter(
    lambda name: name.split(".")[0] not in fat._DEVICES
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=3000), max_size=12)


def read_back(data: bytes) -> dict[str, bytes]:
    """Return the files of a file system, read by a second, simpler reader."""
    reserved, tables, roots = data[14] | data[15] << 8, data[16], data[17] | data[18] << 8
    per_cluster = data[13]
    small = int.from_bytes(data[22:24], "little")
    size = small or int.from_bytes(data[36:40], "little")
    first_table = data[reserved * 512 : (reserved + size) * 512]
    assert first_table == data[(reserved + size) * 512 : (reserved + 2 * size) * 512]
    wide = small == 0
    entries = struct.unpack(f"<{len(first_table) // (4 if wide else 2)}{'I' if wide else 'H'}", first_table)
    root = (reserved + tables * size) * 512
    begin = root + roots * 32

    def chain(cluster: int) -> bytes:
        found = b""
        while cluster < (0x0FFFFFF8 if wide else 0xFFF8):
            at = begin + (cluster - 2) * per_cluster * 512
            found += data[at : at + per_cluster * 512]
            cluster = entries[cluster]
        return found

    def listing(table: bytes, prefix: str) -> dict[str, bytes]:
        found = {}
        for at in range(0, len(table), 32):
            row = table[at : at + 32]
            if not row[0]:
                break
            name, kind = row[:11].decode(), row[11]
            high, low, length = struct.unpack_from("<H4xHI", row, 20)
            cluster = high << 16 | low
            path = prefix + ".".join(filter(None, (name[:8].strip(), name[8:].strip())))
            if kind & 0x10 and not name.startswith("."):
                found |= listing(chain(cluster), path + "/")
            elif kind & 0x20:
                found[path] = chain(cluster)[:length] if cluster else b""
        return found

    return listing(chain(2) if wide else data[root:begin], "")


@given(TREES, st.sampled_from([4 * MIB, FAT32_FROM]))
@settings(max_examples=40, deadline=None)
def test_every_file_is_read_back(files: dict[str, bytes], size: int) -> None:
    try:
        made = fat.file_system(files, size, VOLUME)
    except DiskError as error:
        assert "below it" in error.found
        return
    assert read_back(made.to_bytes()) == files


def test_a_directory_of_many_files_and_files_without_bytes(tmp_path: Path) -> None:
    files = {f"D/F{number}.TXT": str(number).encode() * (number % 3) for number in range(200)}
    for size in (8 * MIB, FAT32_FROM):
        made = fat.file_system(files, size, VOLUME)
        assert read_back(made.to_bytes()) == files
        path = written(tmp_path / f"volume{size}", made)
        assert "202 files" in run("fsck.vfat", "-n", "-v", path)


def test_a_full_root_of_fat16_is_refused() -> None:
    files = {f"F{number}": b"" for number in range(511)}
    assert (
        len(
            read_back(fat.file_system(dict(itertools.islice(files.items(), 510)), 4 * MIB, VOLUME).to_bytes())
        )
        == 510
    )
    with pytest.raises(DiskError, match="entries in its root"):
        fat.file_system(files, 4 * MIB, VOLUME)
    assert len(read_back(fat.file_system(files, FAT32_FROM, VOLUME).to_bytes())) == 511


@given(st.integers(1, LARGEST // 512).map(lambda sectors: sectors * 512) | st.sampled_from([FAT32_FROM, FAT32_FROM - 512, 260 * MIB - 512, 260 * MIB, 8 << 30, 16 << 30, LARGEST]))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_size_is_divided_so_that_its_type_is_clear(size: int) -> None:
    try:
        layout = Layout.of(size)
    except DiskError:
        assert size < 4 * MIB
        return
    # FAT32 File System Specification, "FAT Type Determination".
    assert (4085 < layout.clusters < 65525) if layout.bits == 16 else (layout.clusters > 65525)
    end = layout.place(2) + layout.clusters * layout.cluster_size
    assert size - layout.cluster_size - 1024 < end <= size
    assert layout.table_sectors * 512 * 8 // layout.bits >= layout.clusters + 2


@pytest.mark.parametrize(
    "name", ["", "/EFI", "EFI/", "EFI//BOOT", "efi", "LONGNAME9", "A.LONG", ".A", "A.", "A B", "..", "\u00c4", "NUL", "COM1.TXT", "A/CON/B"]
)  # fmt: skip
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(DiskError) as caught:
        fat.file_system({name: b""}, 4 * MIB, VOLUME)
    assert caught.value.where == f"file {name}"


@pytest.mark.parametrize(("created", "shown"), [(315_532_800, "1980-01-01   0:00"), (4_354_819_199, "2107-12-31  23:59")])  # fmt: skip
def test_the_first_and_the_last_moment_of_fat(tmp_path: Path, created: int, shown: str) -> None:
    path = written(
        tmp_path / "volume", fat.file_system({"A": b"a"}, 4 * MIB, replace(VOLUME, created=created))
    )
    assert shown in run("mdir", "-i", path, "::")


def test_files_that_fit_exactly_and_one_byte_more(tmp_path: Path) -> None:
    for size, directories in ((4 * MIB, 0), (FAT32_FROM, 1)):
        free = (Layout.of(size).clusters - directories) * 512
        path = written(tmp_path / f"volume{size}", fat.file_system({"A": b"x" * free}, size, VOLUME))
        run("fsck.vfat", "-n", path)
        with pytest.raises(DiskError, match="clusters"):
            fat.file_system({"A": b"x" * (free + 1)}, size, VOLUME)


def test_a_file_that_is_too_long_for_fat_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fat, "_LONGEST_FILE", 99)
    assert fat.file_system({"A": bytes(99)}, 4 * MIB, VOLUME)
    with pytest.raises(DiskError, match="100 bytes, want at most 99"):
        fat.file_system({"A": bytes(100)}, 4 * MIB, VOLUME)


def test_fat32_has_its_first_sectors_twice() -> None:
    data = fat.file_system({}, FAT32_FROM, VOLUME).to_bytes()
    assert data[: 2 * 512] == data[6 * 512 : 8 * 512]
    assert data[512:516] + data[996:1000] == b"RRaArrAa"


@pytest.mark.parametrize("label", ["", "esp", "TWELVE_CHARS", "A B", "\u00c4"])
def test_labels_that_are_refused(label: str) -> None:
    with pytest.raises(DiskError, match="label"):
        fat.file_system({}, 4 * MIB, Volume(label, 1, CREATED, 0))


# --- VHD


def test_qemu_reads_the_same_disk(tmp_path: Path) -> None:
    raw = written(tmp_path / "disk.raw", disk.image(PROGRAM, CREATED))
    fixed = written(tmp_path / "disk.vhd", disk.vhd_image(PROGRAM, CREATED))
    assert "Images are identical" in run("qemu-img", "compare", "-f", "raw", "-F", "vpc", raw, fixed)
    shown = run("qemu-img", "info", "-f", "vpc", fixed)
    assert f"({raw.stat().st_size} bytes)" in shown
    assert fixed.stat().st_size == raw.stat().st_size + 512


def test_qemu_makes_the_same_footer(tmp_path: Path) -> None:
    """All but who made it, when, and under which name."""
    theirs = tmp_path / "theirs.vhd"
    size = 77 * MIB
    run("qemu-img", "create", "-f", "vpc", "-o", "subformat=fixed,force_size=on", theirs, str(size))
    found = theirs.read_bytes()[-512:]
    ours = vhd.fixed(SparseImage(size, ()), UUID(int=1), CREATED).to_bytes()[-512:]
    # Cookie, features, version, offset; sizes; type; what is reserved.  QEMU writes the largest geometry.
    for start, end in ((0, 24), (40, 56), (60, 64), (85, 512)):
        assert ours[start:end] == found[start:end], start
    for footer in (ours, found):
        kept = int.from_bytes(footer[64:68], "big")
        assert kept == ~sum(footer[:64] + bytes(4) + footer[68:]) & 0xFFFF_FFFF


@pytest.mark.parametrize("created", [0, 946_684_799, 946_684_800, CREATED, 1 << 40])
def test_times_count_from_2000(created: int) -> None:
    footer = vhd.fixed(SparseImage(MIB, ()), UUID(int=1), created).extents[0][1]
    expected = min(max(created - 946_684_800, 0), 0xFFFF_FFFF)
    assert int.from_bytes(footer[24:28], "big") == expected


@given(st.integers(2048, 1 << 33))
def test_geometry_covers_no_more_than_the_disk(sectors: int) -> None:
    cylinders, heads, per_track = vhd.geometry(sectors)
    assert 1 <= cylinders <= 65535
    assert 1 <= heads <= 16
    assert 1 <= per_track <= 255
    assert cylinders * heads * per_track <= sectors


@pytest.mark.parametrize(("sectors", "expected"), [(2048, (30, 4, 17)), (69631, (1023, 4, 17)), (69632, (140, 16, 31)), (69649, (819, 5, 17)), (71680, (843, 5, 17)), (278527, (1023, 16, 17)), (278528, (561, 16, 31)), (4194304, (4161, 16, 63)), (65535 * 16 * 255, (65535, 16, 255)), (1 << 33, (65535, 16, 255))])  # fmt: skip
def test_geometry_of_the_appendix(sectors: int, expected: tuple[int, int, int]) -> None:
    assert vhd.geometry(sectors) == expected


@pytest.mark.parametrize("size", [0, 512, MIB + 512, (2040 << 30) + MIB])
def test_sizes_that_azure_does_not_take(size: int) -> None:
    with pytest.raises(DiskError, match="whole mebibytes"):
        vhd.fixed(SparseImage(size, ()), UUID(int=1), CREATED)


# --- sparse images


@pytest.mark.parametrize("extents", [((0, b"ab"), (1, b"c")), ((5, b"a"), (0, b"b")), ((9, b"ab"),)])
def test_extents_that_do_not_fit_are_a_mistake(extents: tuple[tuple[int, bytes], ...]) -> None:
    with pytest.raises(ValueError, match="extent"):
        SparseImage(10, extents)


@given(st.lists(st.tuples(st.integers(0, 70_000), st.binary(max_size=9)), max_size=3), st.booleans())
def test_what_is_written_is_the_whole(gaps: list[tuple[int, bytes]], long: bool) -> None:  # noqa: FBT001
    extents, place = [], 0
    for gap, data in gaps:
        content = data * (1 + 9000 * long)
        extents.append((place + gap, content))
        place += gap + len(content)
    image = SparseImage(place + 7, tuple(extents))
    with tempfile.TemporaryFile() as file:
        image.write_to(file)
        file.seek(0)
        found = file.read()
    assert found == image.to_bytes()
    assert len(found) == image.size


def test_a_full_disk_is_the_writers_error() -> None:
    with Path("/dev/full").open("wb") as file, pytest.raises(OSError, match=re.compile("space|Invalid")):
        disk.image(PROGRAM, CREATED).write_to(file)


def test_the_path_is_that_which_firmware_looks_for() -> None:
    assert disk.BOOT_PATH == "EFI/BOOT/BOOTX64.EFI"
    assert uki.STUB.endswith("linuxx64.efi.stub")
