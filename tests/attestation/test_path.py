"""How many issuers may stand below another, whoever the vendor is."""

from __future__ import annotations

import pytest

from attestation.certificate import Certificate, read_certificate
from attestation.errors import NotAuthenticError
from attestation.path import check_lengths
from tests.fakes.aws import NAMES, certificate


def chain(**lengths: int) -> list[Certificate]:
    """Return leaf, instance, zone, region and root, with the path lengths of some."""
    issuers = (*NAMES[1:], "root")
    return [
        read_certificate(certificate(subject, issuer, path_length=lengths.get(subject)))
        for subject, issuer in zip(NAMES, issuers, strict=True)
    ]


LEAST = {"instance": 0, "zone": 1, "region": 2, "root": 3}


def test_no_length_allows_any_number() -> None:
    check_lengths(chain())
    assert {one.path_length for one in chain()} == {None}


@pytest.mark.parametrize("name", LEAST)
def test_as_many_as_there_are(name: str) -> None:
    check_lengths(chain(**{name: LEAST[name]}))
    check_lengths(chain(**LEAST))
    check_lengths(chain(**{name: LEAST[name] + 1}))


@pytest.mark.parametrize("name", [one for one, least in LEAST.items() if least])
def test_one_too_few(name: str) -> None:
    with pytest.raises(NotAuthenticError) as caught:
        check_lengths(chain(**{name: LEAST[name] - 1}))
    assert caught.value.where == name
    assert (caught.value.found, caught.value.want) == (
        f"{LEAST[name]} issuers below it",
        f"at most {LEAST[name] - 1}",
    )


def test_an_issuer_of_itself_does_not_count() -> None:
    leaf, instance, _, region, root = chain(region=1)
    again = read_certificate(certificate("region", "region"))
    check_lengths([leaf, instance, again, region, root])
    with pytest.raises(NotAuthenticError):
        check_lengths(chain(region=1))
