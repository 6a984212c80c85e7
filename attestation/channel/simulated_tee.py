"""
What plays a TEE for a guest that was built for it, on a channel of its own beside the relying party's.

The report proves nothing: everybody can sign one.  A policy accepts it only by name.
"""

from __future__ import annotations

from attestation.channel.errors import TurnError
from attestation.channel.frames import Frame, FrameReader, MessageType, encode
from attestation.simulated.chain import PEM
from attestation.simulated.collect import GUEST_POLICY, MEASUREMENT, collect


class SimulatedTee:
    """
    One channel to one guest.

    Args:
        measurement: What it says of the guest, 48 bytes.
        guest_policy: What it says that the host promised.
    """

    def __init__(self, measurement: bytes = MEASUREMENT, guest_policy: int = GUEST_POLICY) -> None:
        self._reader = FrameReader()
        self._measurement, self._guest_policy = measurement, guest_policy

    def receive(self, data: bytes) -> bytes:
        """
        Return what to send back for a piece of what the guest sends.

        Raises:
            FrameError: no frames of this version.
            TurnError: another message than report data.
        """
        return b"".join(self._answer(frame) for frame in self._reader.feed(data))

    def _answer(self, frame: Frame) -> bytes:
        if frame.type is not MessageType.REPORT_DATA:
            raise TurnError("simulated TEE", frame.type.name, MessageType.REPORT_DATA.name)
        evidence, _ = collect(frame.body, self._measurement, self._guest_policy)
        return encode(Frame(MessageType.SIMULATED, len(evidence).to_bytes(4) + evidence + PEM))
