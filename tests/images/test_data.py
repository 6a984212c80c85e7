"""Which data belongs to which use: for every rule a program that has the use, and one that only names the file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from images.data import data_of
from images.loader_cache import cache_bytes
from shim.elf.ldcache import parse_cache
from shim.profile.footprint import Footprint, LiveFunction, Mapped, NamedPath, Origin
from tests.shim.conftest import need

Compile = Callable[..., bytes]
LIBC, PROGRAM, CRYPTO = "/lib/libc.so.6", "/bin/program", "/lib/libcrypto.so.3"


def footprint(
    *named: tuple[str, str],
    calls: tuple[tuple[str, str, str], ...] = (),
    objects: tuple[str, ...] = (PROGRAM, LIBC),
    go: bool = False,
) -> Footprint:
    """A footprint of (path, object) and (function, object, caller)."""
    return Footprint(
        tuple(Origin(path, Mapped.PROGRAM if path == PROGRAM else Mapped.NEEDED, "", "") for path in objects),
        (),
        tuple(NamedPath(path, by, "f") for path, by in named),
        tuple(LiveFunction(by, name, (caller,) if caller else ()) for name, by, caller in calls),
        go,
        (),
    )


def wanted(found: Footprint, **environment: str) -> list[str]:
    return [one.path for one in data_of(found, environment).wanted]


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/etc/passwd", "getpwuid_r"),
        ("/etc/group", "getgrouplist"),
        ("/etc/hosts", "getaddrinfo"),
        ("/etc/resolv.conf", "__res_ninit"),
        ("/etc/services", "getservbyname"),
        ("/etc/protocols", "getprotobyname"),
        ("/etc/nsswitch.conf", "getpwnam"),
        ("/etc/gai.conf", "getaddrinfo"),
    ],
)
def test_libc_reads_a_file_for_some_of_its_functions(path: str, function: str) -> None:
    named = (path, LIBC)
    assert wanted(footprint(named, calls=((function, LIBC, PROGRAM),))) == [path]
    assert wanted(footprint(named, calls=(("printf", LIBC, PROGRAM),))) == []
    assert wanted(footprint(calls=((function, LIBC, PROGRAM),))) == []
    [declined] = data_of(footprint(named), {}).declined
    assert (declined.path, "nothing that can run calls" in declined.why) == (path, True)


def test_the_reason_is_who_calls() -> None:
    [one] = data_of(footprint(("/etc/passwd", LIBC), calls=(("getpwnam", LIBC, PROGRAM),)), {}).wanted
    assert (one.reason.rule, one.reason.by, one.reason.detail) == ("accounts", PROGRAM, "calls getpwnam")


def test_a_program_with_its_own_resolver_only_has_to_name_the_file() -> None:
    assert wanted(footprint(("/etc/resolv.conf", PROGRAM), objects=(PROGRAM,))) == ["/etc/resolv.conf"]


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/gshadow", "/etc/ssl/private", "/etc/krb5.keytab"])
def test_secrets_are_never_taken_because_code_names_them(path: str) -> None:
    found = data_of(footprint((path, LIBC), (path, PROGRAM), calls=(("getpwnam", LIBC, PROGRAM),)), {})
    assert found.wanted == ()
    assert "secrets" in found.declined[0].why


@pytest.mark.parametrize(
    "path",
    [
        "/etc/ssl/certs",
        "/etc/ssl/certs/ca-certificates.crt",
        "/usr/lib/ssl/cert.pem",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/opt/own/ssl/certs",
    ],
)
def test_certificates_are_where_code_looks_for_them(path: str) -> None:
    assert wanted(footprint((path, CRYPTO))) == [path]


@pytest.mark.parametrize("path", ["/etc/certs.txt", "/var/mycert.pem", "/home/x/certs"])
def test_what_is_only_called_like_certificates(path: str) -> None:
    assert wanted(footprint((path, CRYPTO))) == []


def test_openssl_reads_its_settings_below_its_directory() -> None:
    assert wanted(footprint(("/usr/lib/ssl", CRYPTO))) == ["/usr/lib/ssl/openssl.cnf"]


def test_one_time_zone_or_all() -> None:
    zones = "/usr/share/zoneinfo"
    assert wanted(footprint((zones, LIBC))) == []
    assert wanted(footprint((zones, LIBC)), TZ="Europe/Zurich") == [f"{zones}/Europe/Zurich"]
    assert wanted(footprint((zones, LIBC)), TZ=":Europe/Zurich") == [f"{zones}/Europe/Zurich"]
    assert wanted(footprint((zones, LIBC)), TZ="/abs") == []
    assert wanted(footprint((zones, LIBC), (zones, PROGRAM))) == [zones]
    assert wanted(footprint((zones, PROGRAM), objects=(PROGRAM,))) == []
    assert wanted(footprint((zones, PROGRAM), objects=(PROGRAM,), go=True)) == []
    loads = (("time.LoadLocation", PROGRAM, ""),)
    assert wanted(footprint((zones, PROGRAM), objects=(PROGRAM,), go=True, calls=loads)) == [zones]
    assert wanted(footprint(("/etc/localtime", LIBC))) == ["/etc/localtime"]
    local = (("time.initLocal", PROGRAM, ""),)
    assert wanted(footprint(objects=(PROGRAM,), go=True, calls=local)) == ["/etc/localtime"]
    assert wanted(footprint(objects=(PROGRAM,), calls=local)) == []


def test_locales_are_those_of_the_environment() -> None:
    named = ("/usr/lib/locale/locale-archive", LIBC)
    assert wanted(footprint(named)) == []
    assert wanted(footprint(named), LANG="C") == []
    assert wanted(footprint(), LANG="de_CH.UTF-8") == []
    found = wanted(footprint(named), LANG="de_CH.UTF-8")
    assert found[0] == named[0]
    assert "/usr/lib/locale/de_CH.utf8" in found


@pytest.mark.parametrize(
    ("calls", "environment", "taken"),
    [
        ((), {}, False),
        ((("iconv_open", LIBC, ""),), {}, False),
        ((("iconv_open", LIBC, "/lib/libunistring.so.2"),), {}, False),
        ((("iconv_open", LIBC, "/lib/libunistring.so.2"),), {"LANG": "de_CH.UTF-8"}, False),
        ((("iconv_open", LIBC, "/lib/libunistring.so.2"),), {"LC_ALL": "de_CH.ISO-8859-1"}, True),
        ((("iconv_open", LIBC, PROGRAM),), {}, True),
    ],
)
def test_character_sets_are_for_those_who_convert(
    calls: tuple[tuple[str, str, str], ...], environment: dict[str, str], *, taken: bool
) -> None:
    found = footprint(("/lib/gconv/gconv-modules.cache", LIBC), calls=calls)
    assert wanted(found, **environment) == (["/lib/gconv"] if taken else [])


def test_a_terminal_is_that_of_the_environment() -> None:
    named = ("/usr/share/terminfo", "/lib/libtinfo.so.6")
    assert wanted(footprint(named)) == []
    assert wanted(footprint(named), TERM="xterm") == ["/usr/share/terminfo/x/xterm"]
    assert wanted(footprint(named), TERM="../../etc/x") == []


LIBRARIES = st.from_regex(r"lib[a-z0-9]{1,6}\.so(\.[0-9]{1,3}){0,2}", fullmatch=True)


@given(st.dictionaries(LIBRARIES, st.just("/opt/lib/x"), min_size=1, max_size=8))
def test_a_cache_is_read_back(libraries: dict[str, str]) -> None:
    found = parse_cache(cache_bytes(libraries.items()), "it")
    assert {name: entries[0].path for name, entries in found.items()} == libraries


def test_a_cache_has_the_order_of_ldconfig(compile_c: Compile, tmp_path: Path) -> None:
    names = ["libb.so.9", "libb.so.10", "liba.so.1", "libb-c.so.2", "lib2.so.1", "lib10.so.1"]
    for name in names:
        (tmp_path / name).write_bytes(compile_c("", "-shared", f"-Wl,-soname,{name}"))
    (tmp_path / "conf").write_text(f"{tmp_path}\n")
    (tmp_path / "own").write_bytes(cache_bytes((name, f"{tmp_path}/{name}") for name in names))
    subprocess.run(
        [need("ldconfig"), "-X", "-C", str(tmp_path / "theirs"), "-f", str(tmp_path / "conf")], check=True
    )
    orders = []
    for cache in ("own", "theirs"):
        done = subprocess.run(
            ["ldconfig", "-p", "-C", str(tmp_path / cache)], capture_output=True, text=True, check=True
        )
        orders.append([line.split()[0] for line in done.stdout.splitlines() if f"=> {tmp_path}/" in line])
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(names)
