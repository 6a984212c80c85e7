"""
Which endorsements were fetched before?

    objects/SHA256        what was served, named by its digest
    index/SHA256          an entry for each endorsement, named by the digest of its URL

Nothing here opens a socket, and nothing that is read is trusted: a damaged entry or object counts as absent,
and whether an intact one is right is decided again by whoever uses it.  Several processes may read and write.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from attestation import endorsements
from attestation.endorsements import Endorsements
from attestation.errors import EvidenceFormatError, NotAuthenticError
from attestation.store import entry as entries, files
from attestation.store.entry import Entry, Kept
from attestation.store.files import StoreError
from attestation.wanted import LARGEST_LIST, Wanted

LARGEST_OBJECT = LARGEST_LIST
_UNUSED_FOR = 3600.0  # seconds: another process may be about to name an object that it just wrote


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of endorsements; it need not exist until something is kept."""

    root: Path

    def find(self, url: str) -> Kept | None:
        """Return what is kept under a URL, None where that is nothing or was damaged."""
        found = self._entry(self.root / "index" / entries.name(url))
        return None if found is None or found.url != url else self._kept(found)

    def everything(self) -> Iterator[Kept]:
        """Yield all that is kept and intact, in the order of the files' names."""
        for path in self._files("index"):
            found = self._entry(path)
            kept = None if found is None or entries.name(found.url) != path.name else self._kept(found)
            if kept is not None:
                yield kept

    def keep(self, kept: Kept) -> None:
        """
        Keep an endorsement in the place of an earlier answer.

        Raises:
            StoreError: the store cannot be written.

        Not checked:
            That it is right: `admit` does.
        """
        for data in (kept.answer.body, kept.answer.issuers):
            if data:
                self._keep_object(data)
        entry = entries.of(kept)
        files.write(self.root / "index" / entries.name(kept.url), entries.dumps(entry))

    def admit(self, wanted: Wanted, kept: Kept, at: datetime) -> Kept:
        """
        Keep an answer if it is right, and return it.

        Args:
            wanted: What was asked for.
            kept: The answer; its `issued` is not believed.
            at: The time to judge at.

        Raises:
            EvidenceFormatError, NotAuthenticError, MissingEndorsementError, ValidityError: it is wrong.  Also
                NotAuthenticError: its signer made it before the one that is kept already.
            StoreError: the store cannot be written.
        """
        checked = wanted.check(kept.answer, at)
        earlier = self.find(wanted.url)
        if earlier is not None and earlier.issued > checked.issued:
            found = f"one of {checked.issued.isoformat()}"
            raise NotAuthenticError(
                wanted.title, found, f"none before {earlier.issued.isoformat()}, which is kept"
            )
        right = replace(kept, url=wanted.url, issued=checked.issued)
        self.keep(right)
        return right

    def supply(self, wanted: Iterable[Wanted]) -> tuple[Endorsements, tuple[Wanted, ...]]:
        """
        Return what is kept of what is wanted, and what is not.

        Raises:
            EvidenceFormatError: something that is kept cannot be read.
        """
        supplied, missing = Endorsements(), []
        for one in wanted:
            kept = self.find(one.url)
            if kept is None:
                missing.append(one)
                continue
            for data in (kept.answer.body, kept.answer.issuers):
                if data:
                    supplied = supplied | endorsements.parse(data, one.title)
        return supplied, tuple(missing)

    def prune(self, at: datetime) -> int:
        """Remove objects that no entry has named for an hour, and return how many."""
        found = [self._entry(path) for path in self._files("index")]
        named = {digest for one in found if one is not None for digest in one.digests}
        removed = 0
        for path in self._files("objects"):
            try:
                if path.name not in named and at.timestamp() - path.lstat().st_mtime > _UNUSED_FOR:
                    path.unlink()
                    removed += 1
            except OSError as error:
                raise StoreError(str(path), str(error.strerror), "an object that can be removed") from error
        return removed

    def _files(self, folder: str) -> list[Path]:
        place = self.root / folder
        return sorted(place.iterdir()) if place.is_dir() else []

    def _keep_object(self, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        if self._object(digest) is not None:
            with contextlib.suppress(OSError):
                os.utime(self.root / "objects" / digest)  # it counts as used from now on
                return
        files.write(self.root / "objects" / digest, data)

    def _entry(self, path: Path) -> Entry | None:
        data = files.read(path, entries.LARGEST)
        try:
            return None if data is None else entries.loads(data)
        except EvidenceFormatError:
            return None

    def _object(self, digest: str) -> bytes | None:
        data = files.read(self.root / "objects" / digest, LARGEST_OBJECT)
        intact = data is not None and hashlib.sha256(data).hexdigest() == digest
        return data if intact else None

    def _kept(self, entry: Entry) -> Kept | None:
        parts = [self._object(digest) for digest in entry.digests]
        intact = [part for part in parts if part is not None]
        return entry.kept(intact) if len(intact) == len(parts) else None
