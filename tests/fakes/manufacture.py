"""TPMs in software as a maker hands them out: endorsement certificates below a certificate authority of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from attestation.tpm import public_area
from tests.fakes import swtpm
from tests.fakes.aws import MADE
from tests.fakes.swtpm import Software

PACKAGES = "apt install swtpm-tools tpm2-tools"
ECC_INDEX = "0x01c0000a"
_EK = x509.ObjectIdentifier("2.23.133.8.1")
_MANUFACTURER, _MODEL, _VERSION = (x509.ObjectIdentifier(f"2.23.133.2.{one}") for one in (1, 2, 3))


@dataclass(frozen=True)
class Made:
    """The state of a TPM, and the certificates above that of its endorsement key, PEM: issuer and root."""

    state: Path
    certificates: tuple[Path, Path]

    @contextlib.contextmanager
    def powered(self, folder: Path) -> Iterator[Software]:
        """Start a copy of it, as it left its maker."""
        state = folder / "state"
        shutil.copytree(self.state, state)
        with swtpm.started(state) as software:
            yield software


def made(folder: Path) -> Made:
    """Have swtpm_setup make a TPM; the test is skipped where that is not installed."""
    missing = [one for one in ("swtpm", "swtpm_setup", "swtpm_localca") if shutil.which(one) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} ({PACKAGES})")
    authority, state = folder / "authority", folder / "made"
    for one in (authority, state):
        one.mkdir()
    settings = {
        "statedir": authority,
        "signingkey": authority / "signkey.pem",
        "issuercert": authority / "issuercert.pem",
        "certserial": authority / "certserial",
    }
    (folder / "authority.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (folder / "authority.options").write_text("")
    (folder / "setup.conf").write_text(
        f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
        f"create_certs_tool_config = {folder / 'authority.conf'}\n"
        f"create_certs_tool_options = {folder / 'authority.options'}\n"
        "active_pcr_banks = sha256\n"
    )
    command = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--create-ek-cert"]
    ran = subprocess.run(
        [*command, "--config", str(folder / "setup.conf")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return Made(state, (authority / "issuercert.pem", authority / "swtpm-localca-rootca-cert.pem"))


def certify_ecc(software: Software, folder: Path) -> bytes:
    """Give a TPM a certificate of its endorsement key on P-256 as well, and return it."""
    software.tool("tpm2_createek", "-Q", "-G", "ecc", "-c", "ek.ctx", "-u", "ek.pub", cwd=folder)
    software.tool("tpm2_flushcontext", "-t", cwd=folder)
    key = public_area.parse_storage((folder / "ek.pub").read_bytes()).key
    assert isinstance(key, ec.EllipticCurvePublicKey)
    certificate = endorsement_certificate(key)
    (folder / "ek.der").write_bytes(certificate)
    software.tool(
        "tpm2_nvdefine", ECC_INDEX, "-C", "o", "-s", str(len(certificate)),
        "-a", "ownerwrite|ownerread|authread|no_da", cwd=folder,
    )  # fmt: skip
    software.tool("tpm2_nvwrite", ECC_INDEX, "-C", "o", "-i", "ek.der", cwd=folder)
    return certificate


def endorsement_certificate(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a certificate as the TCG's profile has it, by an authority of one key."""
    signer = ec.derive_private_key(7, ec.SECP256R1())
    attributes = [
        x509.NameAttribute(_MANUFACTURER, "id:53484D00"),
        x509.NameAttribute(_MODEL, "test"),
        x509.NameAttribute(_VERSION, "id:1"),
    ]
    usage = x509.KeyUsage(False, False, False, False, True, False, False, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TPM maker")]))
        .public_key(key)
        .serial_number(9)
        .not_valid_before(MADE)
        .not_valid_after(MADE + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([_EK]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(attributes))]), critical=True
        )
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
