"""
A TPM in software for one boot: made by swtpm_setup with a certificate authority of its own, run by swtpm.

It proves nothing of the machine that runs it.  What it does show is that a boot is measured, quoted and
appraised as one on hardware is.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.boot.errors import BootError
from shim.cli.boot_machine import dies_with

PACKAGES = "swtpm and swtpm_setup: apt install swtpm swtpm-tools"
LABEL = "SOFTWARE TPM: this host runs it, and can make it say anything; it proves nothing about this machine"
_SECONDS = 120.0  # two RSA keys of 3072 bits are made
_TO_END = 5.0


@dataclass(frozen=True, slots=True)
class SoftwareTpm:
    """
    A TPM as it left its maker.

    Attributes:
        state: Its directory.
        certificates: Those above its endorsement key's, PEM.
        root_sha256: Of the SubjectPublicKeyInfo of the root among them.
    """

    state: Path
    certificates: bytes
    root_sha256: bytes


def manufacture(folder: Path) -> SoftwareTpm:
    """
    Return a new TPM with an endorsement certificate.

    Args:
        folder: An empty one, which nobody else can enter; the authority's keys are in it too.

    Raises:
        BootError: swtpm is not installed, or did not make one.
    """
    from attestation import endorsements
    from attestation.certificate import read_certificate

    authority, state = folder / "authority", folder / "state"
    for one in (authority, state):
        one.mkdir(mode=0o700)
    command = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--create-ek-cert"]
    _run([*command, "--config", str(_settings(folder, authority))])
    root = (authority / "swtpm-localca-rootca-cert.pem").read_bytes()
    (der,) = endorsements.parse(root, "the authority's root").certificates
    issuer = (authority / "issuercert.pem").read_bytes()
    return SoftwareTpm(state, issuer + root, read_certificate(der).key_sha256)


@contextmanager
def powered(tpm: SoftwareTpm) -> Iterator[int]:
    """
    Give the descriptor of QEMU's end of a line to a running TPM, in the state in which it left its maker.

    Whoever uses the descriptor closes it.

    Raises:
        BootError: swtpm cannot be executed.
    """
    state = tpm.state.with_name("running")
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(tpm.state, state)
    ours, theirs = socket.socketpair()
    with theirs:
        process = _start(state, theirs)
    try:
        yield ours.detach()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(state: Path, line: socket.socket) -> subprocess.Popen[bytes]:
    """It ends by itself when QEMU hangs up, and with us at the latest."""
    descriptor = line.fileno()
    try:
        return subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--terminate",
             "--ctrl", f"type=unixio,clientfd={descriptor}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[descriptor],
            start_new_session=True,
            preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509  # there is one thread
        )  # fmt: skip
    except OSError as error:
        raise BootError("--tpm", error.strerror or "no swtpm", PACKAGES) from error


def _settings(folder: Path, authority: Path) -> Path:
    """Write what swtpm_setup reads: where the authority lies, which hash the registers have."""
    files: dict[str, dict[str, Path | str]] = {
        "authority.conf": {
            "statedir": authority,
            "signingkey": authority / "signkey.pem",
            "issuercert": authority / "issuercert.pem",
            "certserial": authority / "certserial",
        },
        "authority.options": {},
        "setup.conf": {
            "create_certs_tool": shutil.which("swtpm_localca") or "swtpm_localca",
            "create_certs_tool_config": folder / "authority.conf",
            "create_certs_tool_options": folder / "authority.options",
            "active_pcr_banks": "sha256",
        },
    }
    for name, settings in files.items():
        (folder / name).write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
    return folder / "setup.conf"


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except OSError as error:
        raise BootError("--tpm", f"{command[0]}: {error.strerror}", PACKAGES) from error
    except subprocess.TimeoutExpired as error:
        raise BootError("--tpm", f"{command[0]} not ready", f"a TPM within {_SECONDS:g} seconds") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines() or ["nothing"]
        raise BootError("--tpm", f"{command[0]}: {said[-1]}", "a TPM with an endorsement certificate")
