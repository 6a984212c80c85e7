"""
Which pages of a program has nobody any business to change?
"""

from __future__ import annotations

from shim.elf.image import ElfImage, Segment

PAGE = 4096
DF_TEXTREL = 4  # ELF specification, dynamic section, DT_FLAGS


def constant_pages(image: ElfImage) -> tuple[range, ...]:
    """
    Return the pages of segments that are not writable, in the file's addresses, increasing, with gaps.

    None where the loader writes into the code; and no page that a writable segment lies in, too.
    """
    if any(tag == "DT_TEXTREL" or (tag == "DT_FLAGS" and value & DF_TEXTREL) for tag, value in image.dynamic):
        return ()
    writable = [_pages(segment) for segment in image.segments if segment.writable]
    found: list[range] = []
    for segment in image.segments:
        extent = _pages(segment)
        shared = any(extent.start < other.stop and other.start < extent.stop for other in writable)
        if segment.writable or shared or not extent:
            continue
        if found and extent.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, extent.stop))
        else:
            found.append(extent)
    return tuple(range(extent.start - image.base, extent.stop - image.base) for extent in found)


def _pages(segment: Segment) -> range:
    """Return the whole pages that a segment lies in."""
    return range(segment.address // PAGE * PAGE, -(-segment.end // PAGE) * PAGE)
