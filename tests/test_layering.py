"""Imports point one way. The table of DESIGN, held against every module of the tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("shim", "attestation", "native", "images")

# What a module may import from the project, longest matching prefix first. "native" is the lowest.
ALLOWED = {
    "attestation": ("attestation", "shim.errors", "shim.canonical"),
    "images": ("images", "shim", "attestation"),
    "native": (),
    "shim.cli": ("shim", "attestation", "images"),
    "shim.errors": (),
    "shim.canonical": (),
    "shim.syscalls": ("shim.syscalls", "shim.errors", "shim.canonical"),
    "shim.elf": ("shim.elf", "shim.errors"),
    "shim.profile": ("shim.profile", "shim.syscalls", "shim.errors", "shim.canonical"),
    "shim.filter": ("shim.filter", "shim.profile", "shim.syscalls", "shim.errors"),
    "shim.analysis": ("shim.analysis", "shim.elf", "shim.profile", "shim.syscalls", "shim.errors", "shim"),
    "shim.launch": (
        "shim.launch",
        "shim.filter",
        "shim.profile",
        "shim.elf",
        "shim.syscalls",
        "shim.canonical",
        "shim.errors",
    ),
    "shim": (),
}

# Modules of others that only some parts may touch.
ONLY_IN = {
    "elftools": ("shim.elf",),
    "capstone": (),
    "iced_x86": ("shim.analysis",),
    "cryptography": (
        "attestation",
        "images.measure.id_block",
        "images.eif_signature",
        "images.signature.keys",
    ),
    "socket": (
        "shim.cli.guest",
        "shim.cli.boot_machine",
        "shim.cli.boot_party",
        "shim.cli.boot_run",
        "shim.cli.boot_tpm",
        "shim.cli.boot_wires",
        "attestation.relying_party.server",
        "attestation.relying_party.channel_server",
    ),
    "http": (),
    "urllib.request": ("shim.cli.fetching",),
    "urllib.parse": ("attestation.intel.collateral", "attestation.fetch"),
    "sigstore_models": ("images.signature.bundle",),
    "zstandard": ("images.decompress", "images.compress"),
    "cbor2": ("attestation.cose", "attestation.corim", "attestation.nitro.collect", "images.eif_signature"),
    "lxml": ("attestation.nvidia.rim",),
    "signxml": ("attestation.nvidia.rim",),
    "cyclonedx": ("images.sbom",),
    "license_expression": ("images.sbom",),
    "lz4": ("images.packages.apt_lists",),
    "packageurl": ("images.sbom",),
    "semver": ("images.packages.versions",),
    "spdx_tools": ("images.sbom.spdx",),
    "univers": ("images.packages.versions",),
    "ssl": ("attestation.fetch.http_transport", "attestation.client", "attestation.relying_party.tls"),
    "httpcore": ("attestation.fetch.http_transport", "attestation.client"),
    "uvicorn": ("attestation.relying_party.server",),
    "starlette": ("attestation.relying_party",),
    "sqlite3": ("attestation.relying_party.sqlite",),
    "psycopg": ("attestation.relying_party.postgresql",),
    "prometheus_client": ("attestation.relying_party.metrics",),
    "attestation.relying_party": (
        "attestation.relying_party",
        "attestation.client",
        "shim.cli.serve",
        "shim.cli.serving",
        "shim.cli.serve_store",
        "shim.cli.serve_channel",
    ),  # a verifier serves nobody
    "attestation.client": ("shim.cli.attest_url",),
    "attestation.fetch": (
        "attestation.fetch",
        "shim.cli.fetch",
        "shim.cli.fetching",
    ),  # a verifier has no network
    "click": ("shim.cli",),
    "rich": ("shim.cli",),
    "time": ("shim.cli",),
    "random": ("shim.cli",),
    "secrets": ("shim.cli",),
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            # `from shim.launch import native` names a module as well
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def rule_for(module: str) -> tuple[str, ...]:
    matching = [prefix for prefix in ALLOWED if inside(module, (prefix,))]
    return ALLOWED[max(matching, key=len)]


ALL = list(modules())


def test_every_package_is_seen() -> None:
    assert {name.split(".")[0] for name, _ in ALL} >= {"shim", "attestation", "images", "native"}
    assert len(ALL) > 60


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_imports_point_one_way(module: str, path: Path) -> None:
    for name in imports(path):
        if name.split(".")[0] in PACKAGES:
            allowed = rule_for(module)
            # A package itself may be named on the way to an allowed module of it.
            on_the_way = any(prefix.startswith(name + ".") for prefix in allowed)
            assert inside(name, allowed) or on_the_way, f"{module} imports {name}, want only {allowed}"


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_libraries_stay_where_they_belong(module: str, path: Path) -> None:
    for name in imports(path):
        for library, places in ONLY_IN.items():
            if inside(name, (library,)):
                assert inside(module, places), (
                    f"{module} imports {name}, want it only in {places or 'no module yet'}"
                )


def test_nothing_imports_the_command_line() -> None:
    for module, path in ALL:
        if not inside(module, ("shim.cli",)):
            assert not any(inside(name, ("shim.cli",)) for name in imports(path)), module


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_clocks_are_passed_in(module: str, path: Path) -> None:
    if inside(module, ("shim.cli",)):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "utcnow", "today", "perf_counter", "monotonic"}, (
                f"{module}: {node.attr}"
            )


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_no_check_hides_in_assert(module: str, path: Path) -> None:
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(path.read_text()))), module
