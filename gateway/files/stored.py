"""How many bytes each owner has stored, and how many it may: its uploads, and the copies of its outputs in the archive.
Every file counts with its size, also where others have the same content. The sums are kept as rows come and go.

    what comes              where it is too much
    an upload               StorageFull where the uploads alone are; else it takes the place of copies
    a copy of an output     the owner's oldest copies go, the newest never: a new picture is there in any case
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gateway.storage.files import OutputRow, UploadRow


class Stored:
    """What is stored, by owner and by content.

    Attributes:
        most_of: how many bytes an owner may store, None for any number.
        on_excess: called when an owner has more than that.
    """

    def __init__(self, most_of: Callable[[str], int | None] = lambda _owner: None) -> None:
        self.most_of = most_of
        self.on_excess: Callable[[str], None] = lambda _owner: None
        self._uploads: Counter[str] = Counter()
        self._copies: Counter[str] = Counter()
        self._uses: Counter[str] = Counter()  # how many files have a content

    def upload_changed(self, before: UploadRow | None, after: UploadRow | None) -> None:
        """An upload has come, gone, or been written over."""
        self._counted(self._uploads, before, after)

    def copy_changed(self, before: OutputRow | None, after: OutputRow) -> None:
        """An output is new, or what is known of it has changed."""
        self._counted(self._copies, before, after)

    def of(self, owner: str) -> int:
        """Bytes of an owner's files."""
        return self._uploads[owner] + self._copies[owner]

    def uploads_of(self, owner: str) -> int:
        """Bytes of an owner's uploads."""
        return self._uploads[owner]

    def owners(self) -> set[str]:
        """Who has something stored."""
        return {owner for counts in (self._uploads, self._copies) for owner, size in counts.items() if size}

    def is_full_for(self, owner: str, growth: int) -> bool:
        """Whether the owner's uploads would be too many with so many bytes more. What does not grow always fits."""
        most = self.most_of(owner)
        return most is not None and growth > 0 and self._uploads[owner] + growth > most

    def has_excess(self, owner: str) -> bool:
        """Whether an owner has more than it may."""
        most = self.most_of(owner)
        return most is not None and self.of(owner) > most

    def uses(self, content_hash: str) -> bool:
        """Whether any file has that content."""
        return self._uses[content_hash] > 0

    def _counted(
        self, counts: Counter[str], before: UploadRow | OutputRow | None, after: UploadRow | OutputRow | None
    ) -> None:
        for row, by in ((after, 1), (before, -1)):
            if row is not None and row.content_hash is not None:
                counts[row.owner] += by * (row.size or 0)
                self._uses[row.content_hash] += by
                if not self._uses[row.content_hash]:
                    del self._uses[row.content_hash]
        if after is not None and self.has_excess(after.owner):
            self.on_excess(after.owner)
