"""Which registers of a TPM does a policy accept, and which may a log explain?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attestation.eventlog.replay import Registers
from attestation.policy_file import UNCHECKED, Checked, Section
from attestation.policy_values import hexadecimal, nonempty
from attestation.result import Mismatch
from attestation.tpm.quote import SOURCE, Quote

# What the firmware and the system extend; 16 and above are for debugging, applications and dynamic launch.
NUMBERS = range(16)
# A unified kernel image is one program of the firmware; otherwise a boot loader measures what it loads.
_COVERING = ((4, 11), (4, 8, 9))
# Those of the firmware and of a boot loader that uses its log; others the system extends itself.
_PROGRAMS_SOURCE = 'TCG PC Client Platform Firmware Profile, rev. 1.06, section 3.3.4.5, "PCR[4]"'
_PROGRAMS = 4  # boot loader and kernel, or the unified kernel image
_OF_THE_LOG = frozenset({*range(10), 14})

Rules = Mapping[int, Checked[frozenset[bytes]]]


def read(top: Section, *sizes: int) -> Rules:
    """
    Return the accepted values of registers, each of one of `sizes` bytes, from the table `pcrs`.

    Registers that leave open what was booted are a problem: 4 and 11 tell it of a unified kernel image, 4, 8
    and 9 of a boot loader with kernel, ramdisk and command line.
    """
    section = top.section("pcrs")
    pcrs = {number: section.take(f"pcr{number}", nonempty(hexadecimal(*sizes))) for number in NUMBERS}
    if not any(all(pcrs[number] is not UNCHECKED for number in some) for some in _COVERING):
        found = "registers that leave open what was booted"
        top.problems.add("pcrs", found, "values for pcr4 and pcr11, or for pcr4, pcr8 and pcr9")
    section.close()
    return pcrs


def appraise(quote: Quote, rules: Rules) -> Iterator[Mismatch]:
    """Each register with a rule has to be quoted, and to have one of its values."""
    for number, accepted in rules.items():
        found = quote.pcrs.get(number)
        if accepted is not UNCHECKED and found not in accepted:
            want = " or ".join(sorted(value.hex() for value in accepted))
            shown = "not quoted" if found is None else found.hex()
            yield Mismatch(f"pcrs.pcr{number}", shown, want, SOURCE)


def uncovered(quote: Quote) -> tuple[Mismatch, ...]:
    """Return what shows that no firmware measured what it started, whatever a policy accepts."""
    found = quote.pcrs.get(_PROGRAMS)
    if found is None or any(found):
        return ()
    want = "the measurements of what was booted: boot loader and kernel are in this register"
    return (Mismatch("boot", f"pcr{_PROGRAMS} as it was at reset, all zeros", want, _PROGRAMS_SOURCE),)


def of_quote(quote: Quote) -> Registers:
    """Return the registers that a log may explain."""
    names = {number: f"pcr{number}" for number in quote.pcrs}
    return Registers(quote.attest.bank, quote.pcrs, names, _OF_THE_LOG)
