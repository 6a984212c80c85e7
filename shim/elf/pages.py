"""
Which pages of a program has nobody any business to change?
"""

from __future__ import annotations

from shim.elf.image import ElfImage, Segment

PAGE = 4096


def constant_pages(image: ElfImage, *, relocated: bool = False) -> tuple[range, ...]:
    """
    Return the pages of segments that are not writable, in the file's addresses, increasing, with gaps.

    None where the loader writes into the code; and no page that a writable segment lies in, too.  With
    `relocated` also those that a loader protects when it has relocated them (PT_GNU_RELRO, whole pages:
    glibc 2.36, elf/dl-reloc.c, _dl_protect_relro).
    """
    if image.relocates_text:
        return ()
    writable = [_pages(segment) for segment in image.segments if segment.writable]
    constant = [
        extent
        for extent in map(_pages, (segment for segment in image.segments if not segment.writable))
        if extent and not any(extent.start < other.stop and other.start < extent.stop for other in writable)
    ]
    if relocated:
        protected = range(image.relro.start // PAGE * PAGE, image.relro.stop // PAGE * PAGE)
        constant += [protected] if protected else []
    found: list[range] = []
    for extent in sorted(constant, key=lambda extent: extent.start):
        if found and extent.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, extent.stop))
        else:
            found.append(extent)
    return tuple(range(extent.start - image.base, extent.stop - image.base) for extent in found)


def _pages(segment: Segment) -> range:
    """Return the whole pages that a segment lies in."""
    return range(segment.address // PAGE * PAGE, -(-segment.end // PAGE) * PAGE)
