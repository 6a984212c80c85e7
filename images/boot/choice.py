"""By which technology is a machine run, and why by that one?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from images.boot.errors import QemuError
from images.boot.host import Host, Offer


class Technology(StrEnum):
    """What runs the machine, the one that protects most first."""

    SNP = "snp"
    TDX = "tdx"
    KVM = "kvm"
    TCG = "tcg"

    @property
    def is_confidential(self) -> bool:
        """Whether hardware keeps the host out, and says what was started."""
        return self in {Technology.SNP, Technology.TDX}


_NAMES = {
    Technology.SNP: "SEV-SNP",
    Technology.TDX: "TDX",
    Technology.KVM: "KVM",
    Technology.TCG: "TCG (an interpreter)",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and why that."""

    technology: Technology
    why: str

    @property
    def name(self) -> str:
        """The technology as people call it."""
        return _NAMES[self.technology]


def choose(host: Host, wanted: Technology | None, *, has_firmware: bool, is_started: bool = True) -> Choice:
    """
    Return what to run a machine by.

    Args:
        host: What there is.
        wanted: What the user named; None for the best.
        has_firmware: Whether there is a firmware that a confidential machine can be started with.
        is_started: False where the command line is only shown: then also what this host cannot start.

    Raises:
        QemuError: what was named is not there.
    """
    offers = {Technology.SNP: host.snp, Technology.TDX: host.tdx, Technology.KVM: host.kvm}
    if wanted is not None:
        offer = offers.get(wanted, Offer(is_there=True, why=""))
        # KVM that is of an unusual kind may be tried by name.
        if offer.is_there or not wanted.is_confidential:
            return Choice(wanted, "as asked")
        if is_started:
            raise QemuError(f"--by {wanted}", offer.why, f"a host with {_NAMES[wanted]}")
        return Choice(wanted, f"as asked; this host could not start it ({offer.why})")
    missing: list[str] = []
    for technology, offer in offers.items():
        why = offer.why
        if offer.is_there and (has_firmware or not technology.is_confidential):
            return Choice(technology, ", ".join((why, *missing)))
        if offer.is_there:
            why += ", but no --firmware that it could be started with"
        missing.append(f"no {_NAMES[technology]} ({why})")
    return Choice(Technology.TCG, ", ".join(missing))
