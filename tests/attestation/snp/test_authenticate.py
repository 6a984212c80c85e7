"""Each check of `authenticate` has a case that breaks exactly it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from attestation.cache import Cache
from attestation.endorsements import Endorsements
from attestation.errors import (
    AuthenticationError,
    EvidenceFormatError,
    MissingEndorsementError,
    NotAuthenticError,
    SignatureError,
    ValidityError,
)
from attestation.snp import evidence, roots
from attestation.snp.authenticate import Authenticated, authenticate
from attestation.snp.products import GENOA, MILAN, PRODUCTS, TURIN, Product
from attestation.snp.report import SigningKey
from tests.fakes import amd
from tests.fakes.amd import NOW, OIDS, Amd, Chip, Maker

CHIP = Chip()
AMD = Amd()
TURIN_CHIP = Chip(product=TURIN, tcb=bytes([1, 2, 3, 4, 0, 0, 0, 200]), label="turin")
SECOND = timedelta(seconds=1)


def judge(report: bytes, certificates: tuple[bytes, ...], **options: object) -> Authenticated:
    settings = {"roots": AMD.roots, "now": NOW} | options
    return authenticate(evidence.parse(report), Endorsements(certificates), **settings)  # type: ignore[arg-type]


def chain(
    chip: Chip = CHIP,
    authority: Amd = AMD,
    *,
    leaf: Callable[[Maker], Maker] = lambda maker: maker,
    intermediate: Callable[[Maker], Maker] = lambda maker: maker,
    root: Callable[[Maker], Maker] = lambda maker: maker,
) -> tuple[bytes, ...]:
    middle = authority.asvk if chip.is_vlek else authority.ask
    return leaf(authority.leaf(chip)).der(), intermediate(middle).der(), root(authority.ark).der()


def with_extension(name: str, value: bytes | None) -> Callable[[Maker], Maker]:
    def change(maker: Maker) -> Maker:
        extensions = {oid: old for oid, old in maker.extensions.items() if oid != OIDS[name]}
        return replace(maker, extensions=extensions if value is None else {**extensions, OIDS[name]: value})

    return change


def turin_family(product: Product) -> bytes:
    return bytes([1, 2, 3, 4, 0, 0, 0, 200]) if product is TURIN else bytes([4, 0, 0, 0, 0, 0, 24, 219])


@pytest.mark.parametrize("is_vlek", [False, True], ids=["vcek", "vlek"])
@pytest.mark.parametrize(
    ("product", "version"),
    [
        (product, version)
        for product in PRODUCTS
        for version in (2, 3, 4, 5)
        if (product, version) != (TURIN, 2)
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_genuine_report_is_authentic(product: Product, version: int, is_vlek: bool) -> None:  # noqa: FBT001
    chip = Chip(product=product, tcb=turin_family(product), is_vlek=is_vlek)
    authority = Amd(product=product)
    proven = judge(chip.report(version), chain(chip, authority), roots=authority.roots)
    assert proven.chain.product is product
    assert proven.chip_id == (None if is_vlek else chip.hwid)
    assert proven.report.signing_key is (SigningKey.VLEK if is_vlek else SigningKey.VCEK)
    assert proven.extensions.csp_id == ("CN=cloud" if is_vlek else None)


@pytest.mark.parametrize(("family", "model"), [(0x19, 0x10), (0x19, 0x1F), (0x19, 0xA0), (0x19, 0xAF)])
def test_siena_and_bergamo_belong_to_genoa(family: int, model: int) -> None:
    chip, authority = Chip(product=GENOA), Amd(product=GENOA)
    report = chip.report(3, CPUID_FAM_ID=family, CPUID_MOD_ID=model)
    assert judge(report, chain(chip, authority), roots=authority.roots).chain.product is GENOA


@pytest.mark.parametrize(
    ("family", "model"), [(0x19, 0x0F + 1), (0x19, 0xA0), (0x1A, 2), (0x17, 0x31), (0, 0), (0xFF, 0xFF)]
)
def test_processor_of_another_product_is_not_authentic(family: int, model: int) -> None:
    with pytest.raises(NotAuthenticError) as caught:
        judge(CHIP.report(3, CPUID_FAM_ID=family, CPUID_MOD_ID=model), chain())
    assert caught.value.where == "report.CPUID"


# Who may vouch for whom


def test_lengths_that_are_kept() -> None:
    lengths = chain(
        intermediate=lambda maker: replace(maker, path_length=0),
        root=lambda maker: replace(maker, path_length=1),
    )
    assert judge(CHIP.report(), lengths).chain.root.path_length == 1


def test_root_that_is_not_pinned_is_not_authentic() -> None:
    stranger = Amd(label="stranger")
    with pytest.raises(NotAuthenticError, match="root of the chain"):
        judge(CHIP.report(), chain(authority=stranger))


def test_fake_is_not_authentic_under_the_pinned_roots() -> None:
    with pytest.raises(NotAuthenticError, match="a root key of AMD"):
        judge(CHIP.report(), chain(), roots=roots.AMD)


def test_root_that_was_issued_again_with_its_key_is_the_same_root() -> None:
    again = chain(root=lambda maker: replace(maker, serial=0x99, end=amd.END + timedelta(days=1)))
    assert judge(CHIP.report(), again).chain.root.serial == 0x99


@pytest.mark.parametrize("missing", [0, 1, 2], ids=["leaf", "intermediate", "root"])
def test_missing_certificate_is_told_apart_from_a_wrong_one(missing: int) -> None:
    certificates = chain()
    with pytest.raises(MissingEndorsementError) as caught:
        judge(CHIP.report(), certificates[:missing] + certificates[missing + 1 :])
    assert caught.value.exit_code == 14


STRANGER = amd.rsa_key("stranger")
BREAKS: dict[str, tuple[tuple[bytes, ...], type[AuthenticationError]]] = {
    "leaf signed by a stranger": (
        chain(leaf=lambda maker: replace(maker, issuer_key=STRANGER)),
        SignatureError,
    ),
    "intermediate signed by a stranger": (
        chain(intermediate=lambda maker: replace(maker, issuer_key=STRANGER)),
        SignatureError,
    ),
    "root with the pinned key signed by a stranger": (
        chain(root=lambda maker: replace(maker, issuer_key=STRANGER)),
        SignatureError,
    ),
    "leaf signed with PKCS1": (
        chain(leaf=lambda maker: replace(maker, serial=1, padding=padding.PKCS1v15())),
        SignatureError,
    ),
    "leaf signed with SHA-256": (
        chain(
            leaf=lambda maker: replace(
                maker, serial=1, hash=hashes.SHA256(), padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            )
        ),
        SignatureError,
    ),
    "salt of another length": (
        chain(
            leaf=lambda maker: replace(
                maker, serial=1, padding=padding.PSS(padding.MGF1(hashes.SHA384()), 32)
            )
        ),
        SignatureError,
    ),
    "intermediate that is no authority": (
        chain(intermediate=lambda maker: replace(maker, is_authority=False)),
        NotAuthenticError,
    ),
    "intermediate without key usage": (
        chain(intermediate=lambda maker: replace(maker, key_usage=False)),
        NotAuthenticError,
    ),
    "intermediate that may not sign certificates": (
        chain(intermediate=lambda maker: replace(maker, signs_certificates=False, signs_revocations=True)),
        NotAuthenticError,
    ),
    "root that may not sign certificates": (
        chain(root=lambda maker: replace(maker, signs_certificates=False)),
        NotAuthenticError,
    ),
    "root that allows no intermediate": (
        chain(root=lambda maker: replace(maker, path_length=0)),
        NotAuthenticError,
    ),
    "intermediate of the other kind of key": (
        chain(
            leaf=lambda maker: replace(maker, issuer=AMD.asvk.subject),
            intermediate=lambda maker: replace(maker, subject=AMD.asvk.subject),
        ),
        NotAuthenticError,
    ),
    "root with the name of another product": (
        chain(
            intermediate=lambda maker: replace(maker, issuer="ARK-Genoa"),
            root=lambda maker: replace(maker, subject="ARK-Genoa", issuer="ARK-Genoa"),
        ),
        NotAuthenticError,
    ),
    "leaf with a critical extension that is not known": (
        chain(
            leaf=lambda maker: replace(
                maker, extensions={**maker.extensions, "1.2.3.4": b"\5\0"}, critical=frozenset({"1.2.3.4"})
            )
        ),
        NotAuthenticError,
    ),
    "intermediate with a critical extension that is not known": (
        chain(
            intermediate=lambda maker: replace(
                maker, extensions={"1.2.3.4": b"\5\0"}, critical=frozenset({"1.2.3.4"})
            )
        ),
        NotAuthenticError,
    ),
    "leaf with a key of another curve": (
        chain(leaf=lambda maker: replace(maker, key=amd.ec_key("p256", ec.SECP256R1))),
        NotAuthenticError,
    ),
    "leaf with an RSA key": (chain(leaf=lambda maker: replace(maker, key=STRANGER)), NotAuthenticError),
    "leaf with the key of another chip": (
        chain(leaf=lambda maker: replace(maker, key=amd.ec_key("other chip"))),
        SignatureError,
    ),
    "product name of another product": (
        chain(leaf=with_extension("productName", amd.der_text("Genoa-B1"))),
        NotAuthenticError,
    ),
    "product name that only begins like ours": (
        chain(leaf=with_extension("productName", amd.der_text("MilanX"))),
        NotAuthenticError,
    ),
    "extensions of another version": (
        chain(leaf=with_extension("structVersion", amd.der_integer(1))),
        NotAuthenticError,
    ),
    "another chip": (chain(leaf=with_extension("HWID", bytes(64))), NotAuthenticError),
    "chip that differs in the last byte": (
        chain(leaf=with_extension("HWID", CHIP.hwid[:-1] + bytes([CHIP.hwid[-1] ^ 1]))),
        NotAuthenticError,
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_chain_is_not_authentic(name: str) -> None:
    certificates, error = BREAKS[name]
    with pytest.raises(error) as caught:
        judge(CHIP.report(), certificates)
    assert caught.value.exit_code == 11


def test_leaf_of_another_issuer_name_has_no_issuer() -> None:
    with pytest.raises(MissingEndorsementError):
        judge(CHIP.report(), chain(leaf=lambda maker: replace(maker, issuer="SEV-Genoa")))


# AMD's extensions


@pytest.mark.parametrize("component", MILAN.tcb_layout)
@pytest.mark.parametrize("difference", [-1, 1])
def test_firmware_that_differs_from_the_certificate_is_not_authentic(component: str, difference: int) -> None:
    tcb = dict(zip(MILAN.tcb_layout, bytes([4, 1, 1, 1, 1, 1, 24, 219]), strict=True))
    chip = Chip(tcb=bytes(tcb.values()))
    wrong = amd.der_integer(tcb[component] + difference)
    with pytest.raises(NotAuthenticError) as caught:
        judge(chip.report(), chain(chip, leaf=with_extension(component, wrong)))
    assert caught.value.where == f"report.REPORTED_TCB.{component}"
    assert caught.value.found == str(tcb[component])


@pytest.mark.parametrize("component", TURIN.tcb_layout)
def test_turin_has_its_components_in_another_order(component: str) -> None:
    chip, authority = Chip(product=TURIN, tcb=bytes([1, 2, 3, 4, 5, 6, 7, 200])), Amd(product=TURIN)
    judge(chip.report(5), chain(chip, authority), roots=authority.roots)
    wrong = chain(chip, authority, leaf=with_extension(component, amd.der_integer(99)))
    with pytest.raises(NotAuthenticError) as caught:
        judge(chip.report(5), wrong, roots=authority.roots)
    assert caught.value.where == f"report.REPORTED_TCB.{component}"


@pytest.mark.parametrize(
    "name", ["structVersion", "productName", "bootloader", "tee", "snp", "microcode", "HWID"]
)
def test_missing_extension_is_no_permission(name: str) -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        judge(CHIP.report(), chain(leaf=with_extension(name, None)))
    assert caught.value.found.startswith("no extension")


def test_report_without_cpuid_is_refused_on_turin() -> None:
    authority = Amd(product=TURIN)
    with pytest.raises(NotAuthenticError) as caught:
        judge(TURIN_CHIP.report(2), chain(TURIN_CHIP, authority), roots=authority.roots)
    assert caught.value.where == "report.VERSION"


def test_missing_fmc_is_no_permission_on_turin() -> None:
    authority = Amd(product=TURIN)
    certificates = chain(TURIN_CHIP, authority, leaf=with_extension("fmc", None))
    with pytest.raises(EvidenceFormatError, match="fmc"):
        judge(TURIN_CHIP.report(5), certificates, roots=authority.roots)


def test_reserved_component_may_be_missing_only_for_zero() -> None:
    without = chain(leaf=with_extension("spl5", None))
    assert judge(CHIP.report(), without)
    chip = Chip(tcb=bytes([4, 0, 0, 7, 0, 0, 24, 219]))
    with pytest.raises(NotAuthenticError, match="spl5"):
        judge(chip.report(), chain(chip, leaf=with_extension("spl5", None)))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x04",
        b"\x02\x01",
        b"\x02\x01\xdb",  # negative
        b"\x02\x02\x00\x04",  # not the shortest
        b"\x02\x03\x00\x00\x04",
        b"\x02\x02\x01\x00",  # 256
        b"\x02\x01\x04\x00",  # trailing byte
        b"\x0a\x01\x04",  # ENUMERATED
    ],
    ids=bytes.hex,
)
def test_integer_in_another_encoding_is_malformed(value: bytes) -> None:
    with pytest.raises(EvidenceFormatError) as caught:
        judge(CHIP.report(), chain(leaf=with_extension("bootloader", value)))
    assert caught.value.field == "bootloader SPL"


def test_integer_above_127_has_a_leading_zero() -> None:
    assert amd.der_integer(219) == b"\x02\x02\x00\xdb"
    assert judge(CHIP.report(), chain()).report.reported_tcb[7] == 219


@pytest.mark.parametrize("value", [b"", b"Milan", b"\x0c\x05Milan", b"\x16\x06Milan", b"\x16\x05Mila\xff"])
def test_text_in_another_encoding_is_malformed(value: bytes) -> None:
    with pytest.raises(EvidenceFormatError, match="productName"):
        judge(CHIP.report(), chain(leaf=with_extension("productName", value)))


# The chip


def test_hwid_may_be_wrapped_into_an_octet_string() -> None:
    assert (
        judge(CHIP.report(), chain(leaf=with_extension("HWID", b"\x04\x40" + CHIP.hwid))).chip_id == CHIP.hwid
    )
    authority = Amd(product=TURIN)
    wrapped = chain(TURIN_CHIP, authority, leaf=with_extension("HWID", b"\x04\x08" + TURIN_CHIP.hwid))
    assert judge(TURIN_CHIP.report(5), wrapped, roots=authority.roots).chip_id == TURIN_CHIP.hwid


@pytest.mark.parametrize(
    "value", [*map(bytes, (0, 8, 63, 65, 66)), b"\x04\x08" + bytes(8), b"\x04\x41" + bytes(65)]
)
def test_hwid_of_another_length_is_malformed(value: bytes) -> None:
    with pytest.raises(EvidenceFormatError, match="HWID"):
        judge(CHIP.report(), chain(leaf=with_extension("HWID", value)))


def test_masked_chip_is_named_by_the_key() -> None:
    assert judge(CHIP.report(3, CHIP_ID=bytes(64)), chain()).chip_id == CHIP.hwid


@pytest.mark.parametrize("place", [0, 7, 8, 63])
def test_chip_of_turin_is_8_bytes_and_then_zeros(place: int) -> None:
    authority = Amd(product=TURIN)
    chip_id = bytearray(TURIN_CHIP.hwid.ljust(64, b"\0"))
    assert judge(TURIN_CHIP.report(5), chain(TURIN_CHIP, authority), roots=authority.roots)
    chip_id[place] ^= 1
    with pytest.raises(NotAuthenticError, match="CHIP_ID"):
        judge(
            TURIN_CHIP.report(5, CHIP_ID=bytes(chip_id)), chain(TURIN_CHIP, authority), roots=authority.roots
        )


def test_vlek_may_name_the_chip() -> None:
    chip = Chip(is_vlek=True)
    assert judge(chip.report(3, CHIP_ID=CHIP.hwid), chain(chip)).chip_id == CHIP.hwid


def test_extensions_of_the_other_kind_of_key_are_malformed() -> None:
    chip = Chip(is_vlek=True)
    with pytest.raises(EvidenceFormatError, match="HWID"):
        judge(chip.report(), chain(chip, leaf=with_extension("HWID", CHIP.hwid)))
    with pytest.raises(EvidenceFormatError, match="CSP_ID"):
        judge(CHIP.report(), chain(leaf=with_extension("CSP_ID", amd.der_text("CN=cloud"))))


# Who signed


@pytest.mark.parametrize("fields", [{"KEY_INFO": 7 << 2}, {"KEY_INFO": 7 << 2 | 2}])
def test_report_that_says_it_is_not_signed_is_not_authentic(fields: dict[str, int]) -> None:
    with pytest.raises(NotAuthenticError, match="report signature"):
        judge(CHIP.report(3, **fields), chain())


def test_signature_of_zeros_is_not_authentic() -> None:
    raw = CHIP.report(3, KEY_INFO=2)
    with pytest.raises(NotAuthenticError, match="MASK_CHIP_KEY set"):
        judge(raw[:0x2A0] + bytes(512), chain())


def test_masked_chip_key_bit_alone_changes_nothing() -> None:
    assert judge(CHIP.report(3, KEY_INFO=2), chain()).report.mask_chip_key


@pytest.mark.parametrize(("is_vlek", "key_info"), [(False, 4), (True, 0)])
def test_key_of_the_other_kind_is_not_authentic(is_vlek: bool, key_info: int) -> None:  # noqa: FBT001
    chip, other = Chip(is_vlek=is_vlek), Chip(is_vlek=not is_vlek)
    with pytest.raises(NotAuthenticError, match="KEY_INFO"):
        judge(chip.report(3, KEY_INFO=key_info), chain(chip) + chain(other))


def test_only_a_key_of_the_other_kind_cannot_tell() -> None:
    with pytest.raises(MissingEndorsementError, match="VCEK"):
        judge(CHIP.report(), chain(Chip(is_vlek=True)))


def test_r_and_s_are_little_endian_and_in_order() -> None:
    raw = CHIP.report()
    r, s = raw[0x2A0:0x2E8], raw[0x2E8:0x330]
    for signature in (s + r, r[:48][::-1] + r[48:] + s[:48][::-1] + s[48:], bytes(72) + s, r + bytes(72)):
        with pytest.raises(SignatureError):
            judge(raw[:0x2A0] + signature + raw[0x330:], chain())


def test_the_right_certificate_is_found_among_many() -> None:
    others = [Chip(label=label) for label in "abc"]
    certificates = tuple(AMD.leaf(other).der() for other in others) + chain(Chip(is_vlek=True)) + chain()
    assert judge(CHIP.report(), certificates).chip_id == CHIP.hwid
    assert judge(CHIP.report(), certificates[::-1]).chip_id == CHIP.hwid


def test_certificate_that_is_valid_now_is_preferred() -> None:
    old = chain(leaf=lambda maker: replace(maker, end=NOW - SECOND))
    for certificates in (old + chain(), chain() + old):
        assert judge(CHIP.report(), certificates).chain.leaf.not_after == amd.END


def test_certificate_of_the_future_is_not_preferred() -> None:
    later = {"start": NOW + SECOND, "end": amd.END + timedelta(days=1)}
    future = chain(leaf=lambda maker: replace(maker, **later))
    assert judge(CHIP.report(), future + chain()).chain.leaf.not_after == amd.END


def test_issuer_is_found_among_namesakes() -> None:
    stranger = Amd(label="stranger")
    namesakes = (stranger.ask.der(), stranger.ark.der())
    assert judge(CHIP.report(), namesakes + chain())
    assert judge(CHIP.report(), chain() + namesakes)


# Validity


@pytest.mark.parametrize("part", ["leaf", "intermediate", "root"])
def test_validity_is_checked_for_the_whole_chain(part: str) -> None:
    for change in ({"end": NOW - SECOND}, {"start": NOW + SECOND}):
        certificates = chain(**{part: lambda maker, change=change: replace(maker, **change)})
        with pytest.raises(ValidityError) as caught:
            judge(CHIP.report(), certificates)
        assert caught.value.exit_code == 12
        assert judge(CHIP.report(), certificates, skew=SECOND)


@pytest.mark.parametrize(("offset", "is_valid"), [(-1, True), (0, True), (1, False)])
def test_last_second_is_inclusive(offset: int, is_valid: bool) -> None:  # noqa: FBT001
    certificates = chain(leaf=lambda maker: replace(maker, end=NOW))
    now = NOW + offset * SECOND
    if is_valid:
        assert judge(CHIP.report(), certificates, now=now)
    else:
        with pytest.raises(ValidityError):
            judge(CHIP.report(), certificates, now=now)


def test_time_without_a_zone_is_the_callers_bug() -> None:
    with pytest.raises(TypeError):
        judge(CHIP.report(), chain(), now=NOW.replace(tzinfo=None))


def test_forged_and_expired_is_forged() -> None:
    certificates = chain(leaf=lambda maker: replace(maker, end=NOW - SECOND, issuer_key=STRANGER))
    with pytest.raises(SignatureError):
        judge(CHIP.report(), certificates)


# The cache


def test_cache_changes_no_verdict() -> None:
    cache = Cache()
    for _ in range(2):
        assert judge(CHIP.report(), chain(), cache=cache)
        for certificates, error in BREAKS.values():
            with pytest.raises(error):
                judge(CHIP.report(), certificates, cache=cache)
        with pytest.raises(ValidityError):
            judge(CHIP.report(), chain(), cache=cache, now=amd.END + timedelta(days=1))


def test_cache_keeps_keys_and_algorithms_apart() -> None:
    cache = Cache()
    leaf, intermediate, root = map(cache.certificate, chain())
    cache.check_rsa_pss_sha384(leaf.signed, intermediate, "leaf")
    for signed, issuer in (
        (leaf.signed, root),
        (replace(leaf.signed, data=leaf.signed.data + b"\0"), intermediate),
        (replace(leaf.signed, signature=bytes(256)), intermediate),
        (replace(leaf.signed, algorithm="1.2.840.113549.1.1.11"), intermediate),
    ):
        with pytest.raises(SignatureError):
            cache.check_rsa_pss_sha384(signed, issuer, "leaf")


def test_certificate_that_cannot_be_read_is_malformed() -> None:
    for damaged in (b"", b"\x30\x00", chain()[0][:-1], chain()[0] + b"\0", b"\x30\x03\x02\x01\x00"):
        with pytest.raises(EvidenceFormatError) as caught:
            judge(CHIP.report(), (damaged, *chain()[1:]))
        assert caught.value.exit_code == 10
