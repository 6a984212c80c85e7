"""
Which certificates lead from a key to a root?

Names only propose who issued what; signatures decide.  What each of the certificates must be is asked in
`attestation.path`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from attestation.certificate import Certificate
from attestation.errors import (
    AuthenticationError,
    MissingEndorsementError,
    NotAuthenticError,
    SignatureError,
)
from attestation.path import Check, check_authority, check_critical, check_lengths

Accept = Callable[[Sequence[Certificate]], None]
# SHA-256 of vendors' root certificates, DER.  That the key of each made its own signature depends on nothing
# else: it was checked once, and a test still does.
SELF_SIGNED = frozenset(
    map(
        bytes.fromhex,
        (
            "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",  # ARK-Milan
            "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",  # ARK-Genoa
            "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",  # ARK-Turin
            "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",  # Intel SGX Root CA
        ),
    )
)
_LONGEST = 8
_MOST_TRIED = 1024


def best_first(certificates: Sequence[Certificate], now: datetime) -> list[Certificate]:
    """
    Return those that are valid at `now` first, newest first: keys are certified more than once.

    Of the certificates of a root that another one has certified as well its own comes first: else a chain
    would lead past it.
    """
    return sorted(
        certificates,
        key=lambda one: (
            one.not_before <= now <= one.not_after,
            one.signs_certificates and one.subject == one.issuer,
            one.not_after,
        ),
        reverse=True,
    )


def issuers(certificate: Certificate, certificates: Sequence[Certificate], source: str) -> list[Certificate]:
    """
    Return those that have the name of a certificate's issuer, in their order.

    Raises:
        MissingEndorsementError: none has.
    """
    found = [one for one in certificates if one.subject == certificate.issuer]
    if not found:
        want = certificate.issuer.rfc4514_string()
        raise MissingEndorsementError(f"issuer of {certificate.common_name}", "no certificate", want, source)
    return found


def chain(  # noqa: PLR0913  # what a chain is looked for by
    leaves: Iterable[Certificate],
    certificates: Sequence[Certificate],
    check: Check,
    source: str,
    *,
    now: datetime,
    accept: Accept = lambda _: None,
    known: frozenset[str] = frozenset(),
) -> tuple[Certificate, ...]:
    """
    Return the certificates from one of `leaves` to one that its own key signed.

    Keys are certified more than once, so there can be several ways up, and the first that comes into question
    may end at a root that nobody trusts.  All are tried: the first that is accepted and good at `now` counts,
    or else the first that is accepted.

    Args:
        leaves: Where the chain may begin, in order of preference.
        certificates: Among which the issuers are, in order of preference: see `best_first`.
        check: How signatures are checked: a method of a cache.
        source: The document that says what the chain looks like.
        now: The time to judge at.
        accept: Raises NotAuthenticError for a chain that ends, or looks, as it must not.
        known: Critical extensions of the leaf that the caller deals with, dotted.

    Raises:
        MissingEndorsementError: an issuer is missing.
        NotAuthenticError: a signature is not that of the issuer, an issuer may not issue, or not for so many
            below it, a critical extension is not known, no chain is accepted, or there are more ways than
            anybody would mean.  Where several ways fail it is the reason of the first.

    Not checked:
        Whether the last one is trusted, unless `accept` does.  Revocation.

    Source:
        RFC 4158, section 2.4, "Optimizing Path Building": depth first, with certificates in order of
        preference.
    """
    search = _Search(certificates, check, source, now, accept)
    for leaf in leaves:
        found = search.from_leaf(leaf, known)
        if found is not None:
            return found
    if search.outdated is not None:
        return search.outdated
    raise next(iter(search.refusals))


@dataclass(slots=True)
class _Search:
    """A search for one chain; `outdated` is the first that is accepted, but not good at `now`."""

    certificates: Sequence[Certificate]
    check: Check
    source: str
    at: datetime
    accept: Accept
    tried: int = 0
    refusals: list[AuthenticationError] = field(default_factory=list)
    outdated: tuple[Certificate, ...] | None = None

    def from_leaf(self, leaf: Certificate, known: frozenset[str]) -> tuple[Certificate, ...] | None:
        try:
            check_critical(leaf, known)
        except NotAuthenticError as error:
            self.refusals.append(error)
            return None
        return self._upwards((leaf,))

    def _upwards(self, found: tuple[Certificate, ...]) -> tuple[Certificate, ...] | None:
        """Return the first good chain that begins with `found`, None where there is none."""
        try:
            if self._is_root(found[-1]):
                check_lengths(found)
                self.accept(found)
                if all(one.not_before <= self.at <= one.not_after for one in found):
                    return found
                self.outdated = self.outdated or found
                return None
            for one in self._signers(found):
                whole = self._upwards((*found, one)) if self._may_sign(one) else None
                if whole is not None:
                    return whole
        except (NotAuthenticError, MissingEndorsementError) as error:
            self.refusals.append(error)
        return None

    def _is_root(self, one: Certificate) -> bool:
        """Whether its own key signed it: who changes keys signs the new one with the old, in one name."""
        if one.sha256 in SELF_SIGNED:
            return True
        if one.subject != one.issuer:
            return False
        try:
            self.check(one.signed, one, one.common_name)
        except SignatureError:
            return False
        return True

    def _may_sign(self, one: Certificate) -> bool:
        try:
            check_authority(one)
        except NotAuthenticError as error:
            self.refusals.append(error)
            return False
        return True

    def _signers(self, found: tuple[Certificate, ...]) -> Iterator[Certificate]:
        """Yield each whose key signed the last certificate; raises where none did, or there are too many."""
        if len(found) > _LONGEST:
            raise NotAuthenticError("chain", f"more than {_LONGEST} certificates", "fewer", self.source)
        certificate, signed, wrong = found[-1], False, None
        for one in issuers(certificate, self.certificates, self.source):
            self.tried += 1
            if self.tried > _MOST_TRIED:
                many = f"more than {_MOST_TRIED} ways to a root"
                self.refusals.insert(0, NotAuthenticError("chain", many, "one", self.source))
                return
            try:
                self.check(certificate.signed, one, certificate.common_name)
            except SignatureError as error:
                wrong = error
            else:
                signed = True
                yield one
        if wrong is not None and not signed:
            raise wrong


def unique(certificates: Iterable[Certificate]) -> list[Certificate]:
    """Return the certificates, each once, in their order."""
    return list({one.sha256: one for one in certificates}.values())
