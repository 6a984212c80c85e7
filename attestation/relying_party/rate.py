"""How often may one address ask?"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_REMEMBERED = 1 << 16  # addresses
_HOST_BITS_OF_V6 = 64  # one customer has all of them


@dataclass(slots=True)
class RateLimit:
    """
    A bucket for each address that fills with `rate` permits a second up to `burst`; for use by one thread.

    The address that asked least recently is forgotten first, which gives it a full bucket: a flood from very
    many addresses is nothing that counting addresses stops.

    Attributes:
        rate: Permits in a second; 0 for no limit.
        burst: Permits of a full bucket.
        seconds: A clock that only grows.
    """

    rate: float
    burst: float
    seconds: Callable[[], float]
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allows(self, address: str) -> bool:
        """Return whether the address may ask now, and take a permit if so."""
        if not self.rate:
            return True
        now, name = self.seconds(), network(address)
        level, since = self._buckets.pop(name, (self.burst, now))
        level = min(self.burst, level + (now - since) * self.rate)
        allowed = level >= 1
        self._buckets[name] = (level - 1 if allowed else level, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed


def network(address: str) -> str:
    """Return what counts as one: an address of IPv4, or the first 64 bits of one of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 128 - _HOST_BITS_OF_V6), strict=False))
