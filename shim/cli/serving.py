"""The running service of `shim serve`: its clocks, its keys, its endorsements, and what it says."""

from __future__ import annotations

import contextlib
import gc
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import shim
from attestation import ear, kinds
from attestation.ear_token import SigningKey, load_key
from attestation.endorsements import Endorsements
from attestation.files import read_endorsements, read_limited
from attestation.policy import Policy
from attestation.relying_party.channel import Guests
from attestation.relying_party.channel_server import ChannelServer
from attestation.relying_party.ledger import Ledger
from attestation.relying_party.metrics import Metrics
from attestation.relying_party.party import RelyingParty, Supply, Terms
from attestation.relying_party.rate import RateLimit
from attestation.relying_party.server import Listening, run
from attestation.relying_party.token import fresh_key, key_set
from attestation.relying_party.web import Limits, Service
from shim.cli.endorsing import Lookup
from shim.cli.main import say
from shim.cli.serve_channel import ChannelOptions, Keeper, offer_of

_DEVELOPER = "tee-shim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """
    How to serve.

    Attributes:
        listening: Where.
        policies: By name.
        ear_key: The file of the key that signs tokens; None for one that is made now.
        ear_profile: How their claims are spelled.
        endorsements: Files and directories; with any, the store is not looked at.
        store: Of fetched endorsements, or None for the user's.
        no_store: Whether not to look at it.
        challenge_lifetime, session_lifetime: Seconds.
        rate, burst: Of requests from one address.
        channel: Which guests of the channel are served.
        channel_address: Host and port for those; None for none.
    """

    listening: Listening
    policies: Mapping[str, Policy]
    ear_key: Path | None
    ear_profile: str
    endorsements: tuple[Path, ...]
    store: Path | None
    no_store: bool
    challenge_lifetime: int
    session_lifetime: int
    rate: float
    burst: float
    channel: ChannelOptions
    channel_address: tuple[str, int] | None


def serve(ledger: Ledger, setting: Setting) -> None:
    """
    Serve until a signal.

    Raises:
        SigningKeyError: no tokens can be signed with the key.
        EvidenceFormatError: an endorsement that was named cannot be read.
        ListenError: the address cannot be listened on, or the certificate not be used.
    """
    gc.enable()  # a command ends soon, this one does not
    signing_key = _signing_key(setting.ear_key)
    terms = Terms(
        ear.VerifierId(_DEVELOPER, f"tee-shim {shim.__version__}"),
        setting.challenge_lifetime,
        setting.session_lifetime,
        ear.PROFILES[setting.ear_profile],
    )
    supply = _supply(setting)
    party = RelyingParty(ledger, setting.policies, signing_key, supply, secrets.token_bytes, terms)
    service = Service(party, key_set(signing_key), _clock, say, Limits())
    limit = RateLimit(setting.rate, setting.burst, time.monotonic)
    with _channel(party, setting, service.metrics):
        run(service.app(limit), setting.listening, lambda url: say(f"listening on {url}"))


@contextlib.contextmanager
def _channel(party: RelyingParty, setting: Setting, metrics: Metrics) -> Iterator[None]:
    """Serve guests of the channel, where somebody asked for that."""
    if setting.channel_address is None:
        yield
        return
    guests = Guests(party, offer_of(setting.channel, setting.endorsements), _clock)
    guests.conversation("")  # what is missing is said now, and not to the first guest
    limit = RateLimit(setting.rate, setting.burst, time.monotonic)
    keeper = Keeper(setting.channel.channel_output)
    server = ChannelServer(guests, limit, metrics, say, keeper.keep)
    say(f"serving guests on {server.open(*setting.channel_address)}")
    try:
        yield
    finally:
        server.close()


def _clock() -> datetime:
    return datetime.now(UTC)


def _signing_key(path: Path | None) -> SigningKey:
    if path is not None:
        return load_key(read_limited(path, "key"), str(path))
    say("tokens are signed with a key that was made now; its public half is at /v1/keys")
    return fresh_key()


def _supply(setting: Setting) -> Supply:
    """Return what finds endorsements: those that were named, once; else the store, every time."""
    if setting.endorsements:
        given = read_endorsements(setting.endorsements)
        return lambda _policy, _evidence, _now: given

    def supply(policy: Policy, evidence: bytes, now: datetime) -> Endorsements:
        return Lookup(
            kind=kinds.KINDS[policy.tee],
            data=evidence,
            evidence_path=Path(),
            store_path=setting.store,
            no_store=setting.no_store,
        ).endorsements(now)

    return supply
