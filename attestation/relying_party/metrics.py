"""What does a monitor see?  Counts and times, no names and no addresses."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The counters of one instance, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "shim_requests", "Requests that were answered.", ("route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "shim_request_seconds", "Time to answer.", ("route",), buckets=_BUCKETS, registry=self._registry
        )
        self.in_flight = Gauge(
            "shim_requests_in_flight", "Requests that are being answered.", registry=self._registry
        )
        self.attestations = Counter(
            "shim_attestations", "Attestations by verdict.", ("verdict",), registry=self._registry
        )
        self.releases = Counter("shim_releases", "Resources that were released.", registry=self._registry)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
