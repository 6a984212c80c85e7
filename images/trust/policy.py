"""
Which images does a policy let run?

A TOML file in which every field stands, with a value or spelled "unchecked"; read as appraisal policies are,
with everything that is wrong said at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from attestation.policy_file import UNCHECKED, Checked, Reader, Section, UnfitError, open_file, show
from attestation.policy_values import hexadecimal, integer, one_of
from images.signature.errors import SigningKeyError
from images.signature.keys import PublicKey, read_public
from images.signature.simple_signing import MAX_VERSION

T = TypeVar("T")
MAX_KEYS = 64
_LONGEST_PATH = 4096
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[\x21-\x7e]+")
# A name that merely begins so is another's: https://example.com* is https://example.com.evil too.
_TEXT = r"[^*\x00-\x20\x7f]"
_BEGINNING = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.\-]*:(//[^/?#*\x00-\x20\x7f]*/({_TEXT}*[/:@#?])?|(?!//){_TEXT}+[/:@#?])"
)
# Segments by which a URI leads out of what it begins with: RFC 3986, section 5.2.4, also percent-encoded.
_DOTS = re.compile(r"(^|[/\\:]|%2f|%5c)(\.|%2e){1,2}($|[/\\?#]|%2f|%5c)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Inputs:
    """
    What an image may be made from: each input has to be one of these.

    Attributes:
        digests: SHA-256 digests, whatever they are called.
        sources: URIs, whatever their digest; one that ends in "*" stands for all that begin so.
    """

    digests: frozenset[bytes]
    sources: tuple[str, ...]

    def accepts(self, uri: str, sha256: str) -> bool:
        """Whether an input is one of these."""
        if sha256 and bytes.fromhex(sha256) in self.digests:
            return True
        return any(_covers(source, uri) for source in self.sources)


@dataclass(frozen=True, slots=True)
class ProvenanceRules:
    """
    What provenance has to say.

    Attributes:
        keys: Who may have signed it.
        builders: URIs of builders.
        build_types: URIs of what builds are, or UNCHECKED.
        inputs: What may have gone in, or UNCHECKED.
    """

    keys: tuple[PublicKey, ...]
    builders: frozenset[str]
    build_types: Checked[frozenset[str]]
    inputs: Checked[Inputs]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """
    Which images are accepted.

    Attributes:
        keys: Who may sign images.
        threshold: How many of them have to.
        identity: The name that the image has to be signed under, or UNCHECKED.
        exact: Whether the whole layout has to be what was signed, not its images alone.
        minimum: The lowest version, or UNCHECKED.
        state: Name of the file that remembers the highest version seen, or UNCHECKED.
        provenance: What provenance has to say, or UNCHECKED.
        sbom: "spdx", "cyclonedx" or "any": what has to be attached; or UNCHECKED.
        unchecked: The keys that say "unchecked".
        sha256: Digest of the text, 64 hexadecimal digits.
        where: The name of the file.
    """

    keys: tuple[PublicKey, ...]
    threshold: int
    identity: Checked[str]
    exact: bool
    minimum: Checked[int]
    state: Checked[str]
    provenance: Checked[ProvenanceRules]
    sbom: Checked[str]
    unchecked: tuple[str, ...]
    sha256: str
    where: str


def load(text: str, where: str, read_key: Callable[[str], bytes]) -> TrustPolicy:
    """
    Return the policy in `text`.

    Args:
        text: TOML; `images/trust/policy.toml` explains every field.
        where: The name of the file, for errors.
        read_key: Returns the key file that the policy calls so; raises SigningKeyError.

    Raises:
        PolicyError: with everything that is wrong with it, by line and key: not TOML, unknown or missing
            keys, wrong types, keys that cannot be read, or fields that contradict each other.
    """
    top = open_file(text, where)
    sbom = top.take("sbom", one_of("spdx", "cyclonedx", "any"))
    signature, version = top.section("signature"), top.section("version")
    keys = signature.need("keys", _keys(read_key), ())
    threshold = signature.need("threshold", integer(1, MAX_KEYS), 1)
    identity = signature.take("identity", _text)
    exact = signature.take("contents", one_of("signed"))
    minimum = version.take("minimum", integer(0, MAX_VERSION))
    state = version.take("state", _text)
    rules = top.take_section("provenance")
    provenance = UNCHECKED if rules is UNCHECKED else _provenance(rules, read_key)
    for section in (signature, version, top):
        section.close()
    if keys and threshold > len(keys):
        top.problems.add(
            "signature.threshold", str(threshold), f"at most {len(keys)}: so many keys there are"
        )
    open_fields = top.problems.unchecked
    if sbom is not UNCHECKED and "signature.contents" in open_fields:
        top.problems.add(
            "sbom", show(sbom), '"unchecked", or contents = "signed": nothing else covers an SBOM'
        )
    if state is not UNCHECKED and "version.minimum" in open_fields:
        want = "a number: an image without a version has no place in a state"
        top.problems.add("version.minimum", '"unchecked"', want)
    top.problems.raise_if_any()
    return TrustPolicy(
        keys,
        threshold,
        identity,
        exact is not UNCHECKED,
        minimum,
        state,
        provenance,
        sbom,
        tuple(top.problems.unchecked),
        hashlib.sha256(text.encode()).hexdigest(),
        where,
    )


def _provenance(section: Section, read_key: Callable[[str], bytes]) -> ProvenanceRules:
    keys = section.need("keys", _keys(read_key), ())
    builders = section.need("builders", _list(_uri), ())
    build_types = section.take("build_types", _list(_uri))
    inputs = section.take_section("inputs")
    accepted: Checked[Inputs] = UNCHECKED
    if inputs is not UNCHECKED:
        digests = inputs.need("digests", _list(_digest, empty=True), ())
        sources = inputs.need("sources", _list(_source, empty=True), ())
        if inputs.values is not None and not digests and not sources:
            inputs.problems.add(inputs.name, "no input", 'a digest or a source, or inputs = "unchecked"')
        inputs.close()
        accepted = Inputs(frozenset(digests), sources)
    section.close()
    kinds = build_types if build_types is UNCHECKED else frozenset(build_types)
    return ProvenanceRules(keys, frozenset(builders), kinds, accepted)


def _covers(source: str, uri: str) -> bool:
    if not source.endswith("*"):
        return uri == source
    return uri.startswith(source[:-1]) and not _DOTS.search(uri[len(source) - 1 :])


def _keys(read_key: Callable[[str], bytes]) -> Reader[tuple[PublicKey, ...]]:
    def read(value: object) -> tuple[PublicKey, ...]:
        names = _list(_text).read(value)
        if len(names) > MAX_KEYS:
            raise UnfitError(f"{len(names)} keys", f"at most {MAX_KEYS}")
        try:
            found = tuple(read_public(read_key(name), name) for name in names)
        except SigningKeyError as error:
            raise UnfitError(f"{error.where}: {error.found}", error.want) from error
        if len({key.identifier for key in found}) != len(found):
            raise UnfitError("one key twice", "each key once: a threshold counts keys")
        return found

    return Reader(read, {"type": "array", "minItems": 1, "maxItems": MAX_KEYS, "items": {"type": "string"}})


def _read_text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_PATH or not value.isprintable():
        raise UnfitError(show(value), "a text that is not empty")
    return value


def _read_uri(value: object) -> str:
    if not isinstance(value, str) or not _SCHEME.fullmatch(value) or "*" in value:
        raise UnfitError(show(value), "a URI without *")
    return value


def _read_source(value: object) -> str:
    text = _read_text(value)
    if text.endswith("*"):
        if not _BEGINNING.fullmatch(text[:-1]):
            raise UnfitError(show(value), "a URI, or one up to / : @ # or ? behind its authority, and then *")
        return text
    return _read_uri(value)


def _read_digest(value: object) -> bytes:
    item = value
    if isinstance(item, dict) and set(item) == {"digest", "label"} and isinstance(item["label"], str):
        item = item["digest"]
    return hexadecimal(32).read(item.removeprefix("sha256:") if isinstance(item, str) else item)


_text = Reader(_read_text, {"type": "string", "minLength": 1})
_uri = Reader(_read_uri, {"type": "string", "format": "uri"})
_source = Reader(_read_source, {"type": "string"})
_digest = Reader(_read_digest, {"anyOf": [hexadecimal(32).schema, {"type": "object"}]})


def _list(reader: Reader[T], *, empty: bool = False) -> Reader[tuple[T, ...]]:
    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or not (value or empty):
            raise UnfitError(show(value), "an array" if empty else "an array that is not empty")
        return tuple(reader.read(item) for item in value)

    return Reader(read, {"type": "array", "minItems": 0 if empty else 1, "items": reader.schema})
