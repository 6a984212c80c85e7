"""
For whom is a secret, and who says so?

A release is sealed to the guest's key by HPKE, bound by its `info` to nonce and evidence, and signed by the
relying party, because HPKE in mode base tells nobody who sealed.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.channel import hpke
from attestation.channel.errors import ReleaseError
from attestation.channel.frames import RELEASE_HEAD, Frame, MessageType
from attestation.channel.hpke import KEY_SIZE, NONCE_SIZE, Context, Sealing

SIGNED_LABEL = b"shim release/v1\0"  # 16 bytes each: no other hash input begins like this
INFO_LABEL = b"shim secret/v1\0\0"
PROOF_LABEL = b"shim proof/v1\0\0\0"
_RECORDS_KEY = b"shim records/v1 key"
_RECORDS_NONCE = b"shim records/v1 nonce"


@dataclass(frozen=True, slots=True)
class Bound:
    """
    What a release is for.

    Attributes:
        nonce: The challenge, 32 bytes.
        evidence: SHA-256 of the body of the evidence message, 32 bytes.
    """

    nonce: bytes
    evidence: bytes

    @property
    def info(self) -> bytes:
        """HPKE's info."""
        return INFO_LABEL + self.nonce + self.evidence

    def proof(self, secret: bytes) -> bytes:
        """Return what a guest says that got `secret` out of a credential: it itself never travels."""
        return hmac.digest(secret, PROOF_LABEL + self.nonce + self.evidence, "sha256")

    def signed(self, enc: bytes, ciphertext: bytes) -> bytes:
        """Return the digest that is signed; of its input only the end, the ciphertext, can vary in size."""
        return hashlib.sha256(SIGNED_LABEL + self.evidence + self.nonce + enc + ciphertext).digest()


def seal(
    secret: bytes,
    bound: Bound,
    public_key: bytes,
    signing_key: Ed25519PrivateKey,
    ephemeral: X25519PrivateKey,
) -> tuple[Frame, Sealing]:
    """
    Return a release of `secret`, and what opens the guest's records.

    Args:
        secret: At most 65536 bytes.
        bound: What it is for.
        public_key: The guest's, 32 bytes, from evidence that was affirmed.
        signing_key: The relying party's, whose public half the guest's plan has.
        ephemeral: A fresh key, for this one call.

    Raises:
        ReleaseError: the guest's key is a point of low order.
        ValueError: the secret is too long; the caller's bug.
    """
    enc, context = hpke.send(public_key, bound.info, ephemeral)
    ciphertext = context.sealing.seal(secret)
    body = enc + signing_key.sign(bound.signed(enc, ciphertext)) + ciphertext
    frame = Frame(MessageType.RELEASE, body)
    _ = frame.header  # refuses a size that no release can have
    return frame, records(context)


def open_release(
    body: bytes, bound: Bound, private_key: X25519PrivateKey, relying_party: Ed25519PublicKey
) -> tuple[bytes, Sealing]:
    """
    Return the secret in a release, and what seals records: the guest's side, for guests that have Python.

    Raises:
        ReleaseError: another key signed it, or it is for other evidence, another nonce or another guest.
    """
    enc, signature, ciphertext = body[:KEY_SIZE], body[KEY_SIZE:RELEASE_HEAD], body[RELEASE_HEAD:]
    want = "the relying party's, over this evidence and nonce"
    try:
        relying_party.verify(signature, bound.signed(enc, ciphertext))
    except InvalidSignature as error:
        raise ReleaseError("release.signature", "another's", want) from error
    context = hpke.receive(private_key, enc, bound.info)
    secret = context.sealing.open(ciphertext)
    if secret is None:
        raise ReleaseError("release.ciphertext", "another key's", "a secret sealed to this guest")
    return secret, records(context)


def records(context: Context) -> Sealing:
    """
    Return the one key of everything that the guest sends.

    One key and one count for all types: the host cannot hold back an event and let output pass.
    """
    return Sealing(context.export(_RECORDS_KEY, KEY_SIZE), context.export(_RECORDS_NONCE, NONCE_SIZE))
