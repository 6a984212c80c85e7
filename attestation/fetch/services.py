"""
Where is a vendor's endorsement really asked for: at the vendor, at a mirror, or at a PCCS?

Its name stays the vendor's URL, wherever it came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from attestation.fetch.errors import FetchError
from attestation.intel import pcs
from attestation.snp import kds

# AMD answers about one question for a VCEK in ten seconds from one address; others are not limited like this.
KDS_INTERVAL = 10.0
_PCCS_PATH = "/sgx/certification/v4"


@dataclass(frozen=True, slots=True)
class Services:
    """
    Whom to ask.

    Attributes:
        kds: AMD's key distribution service, or a mirror of it.
        pcs: Intel's provisioning certification service, or a mirror.
        pccs: A caching service (PCCS) to be asked instead of Intel, or "".
    """

    kds: str = kds.SERVICE
    pcs: str = pcs.SERVICE
    pccs: str = ""

    def address(self, url: str) -> str:
        """Return where to ask for what its vendor serves under a URL."""
        if url.startswith(kds.SERVICE + "/"):
            return self.kds + url.removeprefix(kds.SERVICE)
        service = self.pccs or self.pcs
        if url != pcs.ROOT_LIST:
            return service + url.removeprefix(pcs.SERVICE)
        if self.pccs:
            return f"{self.pccs}{_PCCS_PATH}/rootcacrl"
        return url if self.pcs == pcs.SERVICE else f"{self.pcs}/{urlsplit(url).path.lstrip('/')}"


def host(address: str) -> str:
    """Return the host of an address, with its port."""
    return urlsplit(address).netloc


def interval(address: str) -> float:
    """Return the seconds that have to pass between two questions to such an address."""
    is_vcek = address.startswith(f"{kds.SERVICE}/vcek/") and "SPL=" in address
    return KDS_INTERVAL if is_vcek else 0.0


def base(text: str) -> str:
    """
    Return the address of a service as the others are made from it.

    http is taken where it is written: whoever writes it wants it, and what comes is checked all the same.

    Raises:
        FetchError: it is no URL of a service.
    """
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or parts.username is not None or not text.isascii():
        raise FetchError("service", repr(text), "a URL such as https://pccs.example.com:8081")
    return text.rstrip("/").removesuffix(_PCCS_PATH)
