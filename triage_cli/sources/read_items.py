"""The items that a pull has read of a list since it was last begun at its cursor: which of them come again, and why."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from triage_cli.config import SourceSpec
from triage_cli.domain import UsageError
from triage_cli.sources.items import ItemReader

# The most pages in a row without a new item, after which a list that still names a next page is taken to have no end.
MOST_IDLE_PAGES = 100
# The most items that are known at a time, of lists that are read from page to page; of more, the earlier are forgotten.
MOST_KNOWN = 50_000
# How often pages of one time are read at most: while tickets leave them, others move from page to page.
MOST_PASSES = 3


class ReadItems:
    """What was read of one list. An item is known by its id, and unchanged if all that it holds is as before."""

    def __init__(self, spec: SourceSpec, item_reader: ItemReader) -> None:
        self._name = spec.name
        self._is_numbered = spec.next is not None and spec.next.kind in ("page", "offset")
        self._item_reader = item_reader
        self._now: dict[str, bytes] = {}  # since the list was last begun: id and digest of each item
        self._before: dict[str, bytes] = {}  # in the stretch before that
        self._last_pass: dict[str, bytes] | None = None  # the same stretch, where it was read before
        self._passes = 1
        self._places: set[object] = set()  # of the pages since the list was last begun
        self._pages: set[bytes] = set()  # digests of these pages
        self._is_page_repeated = self._is_page_empty = False
        self._has_forgotten = False
        self.is_page_known = False  # whether the last page held an item of the stretch before
        self._idle_pages = 0

    def unread(self, page_items: Sequence[Any]) -> list[bool]:
        """Return for each item of a page whether it is not one that was read before, as it is."""
        digests = [self._digest(item) for item in page_items]
        earlier = self._before, self._last_pass or {}, self._now
        is_unread = [all(each.get(key) != digest for each in earlier) for key, digest in digests]
        known = [self._now] if self._last_pass is not None else [self._now, self._before]
        has_new = any(all(key not in each for each in known) for key, _ in digests)
        page_digest = blake2b(b"".join(digest for _, digest in digests), digest_size=16).digest()
        self._is_page_repeated, self._is_page_empty = page_digest in self._pages, not digests
        self._pages.add(page_digest)
        self._idle_pages = 0 if has_new and not self._is_page_repeated else self._idle_pages + 1
        if len(self._now) > MOST_KNOWN:
            self._now.clear()
            self._has_forgotten = True
        self.is_page_known = any(key in self._before for key, _ in digests)
        self._now.update(digests)
        return is_unread

    def check_goes_on(self, place: object, next_place: object) -> None:
        """Raise `UsageError` if the list would never end: a page comes again, or nothing new for many pages."""
        if self._is_numbered:
            is_repeated = self._is_page_repeated and not self._is_page_empty
        else:
            self._places.add(place)
            is_repeated = next_place in self._places
        why = "the next page is one that was there before" if is_repeated else ""
        if self._idle_pages >= MOST_IDLE_PAGES:
            why = f"{self._idle_pages} pages in a row held nothing new"
        if why:
            raise UsageError(f"{self._name}: {why}, so the list would never end", hint="check next in the config")

    def is_complete(self) -> bool:
        """Return whether the pages since the list was begun are known to hold all items.

        They are if nothing has left them between two passes: else others have moved onto a page that was already read.
        """
        if self._passes >= MOST_PASSES or self._has_forgotten:
            return True
        last_pass = self._last_pass
        return last_pass is not None and all(self._now.get(key) == digest for key, digest in last_pass.items())

    def begin_next(self) -> None:
        """Begin at a later time of the list."""
        self._before, self._now, self._last_pass, self._passes = self._now, {}, None, 1
        self._has_forgotten = False
        self._places.clear()
        self._pages.clear()

    def begin_again(self) -> None:
        """Begin another pass through the same pages."""
        self._last_pass, self._now, self._passes = self._now, {}, self._passes + 1
        self._places.clear()
        self._pages.clear()
        self._idle_pages = 0

    def _digest(self, item: Any) -> tuple[str, bytes]:
        try:
            item_text = repr(item)  # of what JSON gives: as telling as JSON, in half the time
        except RecursionError:  # rejected as nested too deeply
            item_text = ""
        digest = blake2b(item_text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return self._item_reader.id_of(item) or digest.hex(), digest
