"""What is fuzzed: each reader with seeds that it accepts."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from attestation import endorsements, kinds, ocsp, policy_example, reference_files, reference_values
from attestation.cache import Cache
from attestation.channel.frames import MessageType
from attestation.channel.session import Session
from attestation.corim import writing
from attestation.endorsements import Endorsements
from attestation.errors import AttestationError
from attestation.eventlog import claims as log_claims, formats
from attestation.eventlog.replay import Registers
from attestation.files import read_evidence
from attestation.intel import qgs
from attestation.nvidia import rim
from attestation.policy import load
from attestation.reference_values import Entry
from attestation.relying_party import base64url, exchange, kbs_evidence, kbs_messages
from attestation.simulated import collect
from attestation.store import archive
from images import eif, eif_format
from images.measure import firmware, pe, sev_metadata, tdvf
from images.measure.errors import MeasureError
from tests import vectors
from tests.fakes import bzimage, channel, nvidia, ovmf, pe as fake_pe, relying_party, tpm
from tests.fakes.azure import Azure
from tests.fakes.kbs import Guest, nvidia as wrapped_devices, taken_apart, vtpm
from tests.fakes.manifests import Manifest

NOW = datetime(2025, 6, 25, tzinfo=UTC)
NAMES = {
    "snp": ("snp", "report.bin"),
    "tdx": ("tdx", "quote.bin"),
    "sgx": ("sgx", "quote.bin"),
    "nitro": ("nitro", "attestation.cose"),
    "nvidia": ("nvidia-gpu", "evidence.bin"),
    "cca": ("cca", "cca_token.cbor"),
}


@dataclass(frozen=True)
class Target:
    """A reader, and inputs that lead into it."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]


def of_kind(tee: str) -> Target:
    """Read evidence, prove it under what was supplied for a real one, and say what it claims."""
    kind = kinds.KINDS[tee]
    given = beside(tee) | kind.endorsements

    def run(data: bytes) -> None:
        evidence = kind.parse(data)
        kind.unproven(evidence)
        authenticated = kind.authenticate(
            evidence, given, kind.roots, now=NOW, skew=timedelta(days=3650), crl_required=False, cache=Cache()
        )
        kind.claims(authenticated)

    return Target(run, lambda: evidence_of(tee))


def evidence_of(tee: str) -> list[bytes]:
    if tee == "simulated":
        return [collect.collect(bytes(64))[0]]
    if tee == "tpm":
        return [tpm.Tpm().evidence(), tpm.Tpm(curve="P-256", scheme=tpm.ECDSA).evidence()]
    if tee.startswith("azure"):
        folders = (vectors.ROOT / "azure-vtpm").glob(f"{tee.removeprefix('azure-')}*")
        return [read_evidence(folder) for folder in sorted(folders)]
    folder, name = NAMES[tee]
    return [path.read_bytes() for path in sorted((vectors.ROOT / folder).glob(f"*/{name}"))]


def beside(tee: str) -> Endorsements:
    """Certificates and collateral for evidence of a kind; too many would hide the evidence's own part."""
    folder = vectors.ROOT / NAMES.get(tee, ("azure-vtpm", ""))[0]
    files = [
        path
        for suffix in ("pem", "der", "json")
        for path in sorted(folder.glob(f"*/*.{suffix}"))
        if path.name not in {"tpm_quote.json", "expected.json"}
    ]
    files += sorted((vectors.ROOT / "roots").glob("*/*.pem"))
    return endorsements.union(endorsements.parse(path.read_bytes()) for path in files[:8])


def read_log(data: bytes) -> None:
    found = formats.parse(data)
    log_claims.of_log(found, Registers("sha384", {1: bytes(48)}, {1: "rtmr0"}, frozenset({1})))


def read_policy(data: bytes) -> None:
    load(data.decode("utf-8", "replace"), "policy")


def read_enclave_image(data: bytes) -> None:
    head, checked = data[:544], data[548:]
    eif.parse(head + zlib.crc32(checked, zlib.crc32(head)).to_bytes(4, "big") + checked)


def enclave_images() -> list[bytes]:
    parts = eif.Parts(bzimage.kernel(text=b""), "quiet", (b"070701..", b"x"))
    plain = eif.image(parts, eif.Description("hello", "1", "shim", "0", 0))
    signature = eif_format.Section(eif_format.SectionKind.SIGNATURE, b"\x81\xa2")
    return [plain, eif_format.encoded([*eif.parse(plain).sections, signature])]


def endorsement_files() -> list[bytes]:
    files = [
        path for path in sorted(vectors.ROOT.rglob("*")) if path.suffix in {".pem", ".der", ".json", ".crl"}
    ]
    return [path.read_bytes() for path in files if path.stat().st_size < 1 << 16]


def read_reference_values(data: bytes) -> None:
    reference_files.parse_reference_values(data, "reference values", None)


def read_firmware(data: bytes) -> None:
    found = firmware.parse(data)
    for read in (sev_metadata.sections, tdvf.sections, tdvf.configuration_volume):
        with contextlib.suppress(MeasureError):
            read(found)


def read_image(data: bytes) -> None:
    pe.authenticode(pe.parse(data), "sha256")


def reference_values_files() -> list[bytes]:
    entries = (Entry("snp", "measurement", "sha-384", b"m" * 48, "it", {"vmm": "qemu", "vcpus": 4}),)
    return [reference_values.write(entries), writing.write(entries, "an image")]


def requests_to_a_relying_party() -> list[bytes]:
    return [relying_party.encoded(relying_party.Machine().request(base64url.encode(bytes(32))))]


def read_kbs(data: bytes) -> None:
    given = kbs_messages.attestation(data)
    for tee in ("snp", "tdx", "sgx", "cca", "az-snp-vtpm", "az-tdx-vtpm", "sample"):
        with contextlib.suppress(AttestationError):
            kbs_evidence.unwrap(tee, given.evidence)
    for wrapped in given.devices.values():
        with contextlib.suppress(AttestationError):
            kbs_evidence.devices(wrapped)


def attestations_of_guests() -> list[bytes]:
    """One around the simulation, each shape of Azure's with a device, and one around each real report of SEV-SNP."""
    made = [Guest().attestation({"nonce": "AAAA"})]
    devices = relying_party.encoded({"nvidia": wrapped_devices((b"evidence", b"chain"))}).decode()
    for tee, version in (("snp", 0), ("snp", 1), ("tdx", 0), ("tdx", 1)):
        wrapped = vtpm(Azure(tee=tee).parts(), version, b"certificate")
        made.append(Guest().answer({"nonce": "AAAA"}, wrapped, devices))
    for raw in evidence_of("snp"):
        sent = Guest().attestation({"nonce": "AAAA"})
        sent["tee-evidence"]["primary_evidence"] = {
            "attestation_report": taken_apart(raw),
            "cert_chain": None,
        }
        made.append(sent)
    return [relying_party.encoded(one) for one in made]


def logs() -> list[bytes]:
    folder = vectors.ROOT / "eventlog"
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in {".bin", ".data", ""}
    ]
    return [path.read_bytes()[: 1 << 16] for path in files]


def challenged() -> tuple[Session, bytes]:
    """A session whose randomness is none, so that answers can be seeds."""
    session = Session(channel.terms(), channel.NOW, bytes)
    return session, session.receive(channel.frame(MessageType.REQUEST), channel.NOW).reply


def read_answer(data: bytes) -> None:
    session, _ = challenged()
    turn = session.receive(data, channel.NOW)
    released = [reply.type for reply in channel.frames(turn.reply)] == [MessageType.RELEASE]
    # What follows the evidence in the same bytes may still end the session.
    if turn.records or released is not (session.result is not None):
        raise AssertionError(session.state)


def answers() -> list[bytes]:
    answer = channel.guest().answer(challenged()[1])
    return [answer, channel.frame(MessageType.REFUSAL, b"\0\x0a")]


TARGETS = {
    **{f"evidence-{tee}": of_kind(tee) for tee in kinds.KINDS},
    "reference-values": Target(read_reference_values, reference_values_files),
    "ocsp": Target(ocsp.read, lambda: list(nvidia.ALL_RESPONSES)),
    "manifest-of-nvidia": Target(rim.read, lambda: [Manifest().document()]),
    "store-archive": Target(archive.loads, lambda: [archive.dumps(())]),
    "quoting-service": Target(qgs.parse, lambda: [b"\0" * 64]),
    "firmware": Target(read_firmware, lambda: [ovmf.firmware()]),
    "pe": Target(read_image, lambda: [fake_pe.uki()]),
    "enclave-image": Target(read_enclave_image, enclave_images),
    "channel": Target(read_answer, answers),
    "endorsements": Target(endorsements.parse, endorsement_files),
    "event-log": Target(read_log, logs),
    "relying-party": Target(lambda data: exchange.parse(data, "peer"), requests_to_a_relying_party),
    "kbs": Target(read_kbs, attestations_of_guests),
    "policy": Target(read_policy, lambda: [policy_example.text(tee).encode() for tee in kinds.KINDS]),
}
