"""
Paragraphs of `Name: value` lines, as dpkg keeps its packages, apt its lists and DEP-5 its licences.

Only the fields that are asked for are kept: the lists of an archive hold a hundred thousand paragraphs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from images.packages.errors import PackageDatabaseError

SOURCE = "Debian Policy 4.7, section 5.1, Syntax of control files"


def stanzas(data: bytes, where: str, names: Collection[str], most: int) -> Iterator[dict[str, str]]:
    """
    Yield the fields `names` of each paragraph, by name in lower case, with all lines of their values.

    Args:
        data: The whole file.
        where: What to call it in errors.
        names: Fields to keep, in lower case.
        most: How many bytes it may have.

    Raises:
        PackageDatabaseError: too many bytes, no UTF-8, a line that is no field and continues none, or a
            field twice in one paragraph.
    """
    if len(data) > most:
        raise PackageDatabaseError(where, f"{len(data)} bytes", f"at most {most} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        found = f"byte {data[error.start]:#04x} at {error.start}"
        raise PackageDatabaseError(where, found, "UTF-8", SOURCE) from error
    wanted = frozenset(names)
    fields: dict[str, list[str]] = {}
    seen: set[str] = set()
    kept: list[str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace():
            if seen:
                yield _values(fields)
            fields, seen, kept = {}, set(), None
        elif line[0] in " \t":
            if not seen:
                raise PackageDatabaseError(f"{where}:{number}", repr(line[:80]), "a field", SOURCE)
            if kept is not None:
                kept.append(line)
        elif line[0] != "#":
            name, colon, value = line.partition(":")
            lower = name.lower()
            if not colon or not name or lower in seen:
                found = f"{name!r} twice" if colon and name else repr(line[:80])
                raise PackageDatabaseError(f"{where}:{number}", found, "one `Name: value`", SOURCE)
            seen.add(lower)
            kept = fields.setdefault(lower, [value]) if lower in wanted else None
    if seen:
        yield _values(fields)


def _values(fields: dict[str, list[str]]) -> dict[str, str]:
    return {name: "\n".join(line.strip() for line in lines).strip() for name, lines in fields.items()}
