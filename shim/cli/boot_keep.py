"""What a machine showed, kept as files that `shim verify` takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from attestation.channel.session import Session


def write(folder: Path, session: Session, certificates: bytes) -> str:
    """
    Return the words by which `shim verify` takes what a guest has shown, now in files of this folder.

    Args:
        folder: Made if there is none; its files are replaced.
        session: With evidence.
        certificates: What else it was judged by, PEM; or nothing.

    Raises:
        FileError: a file cannot be written.
        ValueError: there is no evidence; the caller's bug.
    """
    said = session.said
    if said is None:
        raise ValueError("a session without evidence")
    files = {
        "evidence": said.evidence,
        "event.log": said.event_log,
        "sent.der": said.endorsements,
        "maker.pem": certificates,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            if data:
                (folder / name).write_bytes(data)
    except OSError as error:
        raise click.FileError(str(folder), str(error.strerror)) from error
    words = [str(folder / "evidence")]
    words += [f"--event-log {folder / 'event.log'}"] if said.event_log else []
    words += [f"--endorsements {folder / name}" for name in ("sent.der", "maker.pem") if files[name]]
    words += [f"--nonce {session.nonce.hex()}", f"--public-key {said.public_key.hex()}"]
    return " ".join([*words, f"--plan-digest {said.plan_digest.hex()}"])
