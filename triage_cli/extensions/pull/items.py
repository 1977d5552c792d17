"""Converts items of a source to drafts: which are taken, which come again, and which path fills which field."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from triage_cli import domain as dm
from triage_cli.config import SourceSpec
from triage_cli.readers import json_cell, moment, priority, text_or_none

# The longest text of an item, and the longest JSON of what is kept beside it, in characters.
LONGEST_ITEM = 1 << 20


class ItemReader:
    """Reads the items of one source, by the paths of its configuration."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self.lacks_verdicts = bool(spec.verdict)  # no item that was read has that field, not even an empty one
        self._taken_paths = {spec.cursor.field, *(path for paths in spec.fields.values() for path in paths)}

    def takes(self, item: object) -> bool:
        """Return whether an item is taken: all conditions of `where` hold."""
        return all(self._is_accepted(dm.lookup(item, path), values) for path, values in self._spec.where.items())

    @staticmethod
    def _is_accepted(value: object, accepted: Sequence[Any]) -> bool:
        return any(value is each if each is None or isinstance(each, bool) else value == each for each in accepted)

    def read(self, item: object, row: int, size: int, changed: str | None = None) -> dm.TicketDraft | dm.Rejected:
        """Return the draft of an item, or a rejection with the reason.

        `size` is its approximate number of characters, `changed` the time of its last change.
        """
        if not isinstance(item, Mapping):
            return self._rejected(item, row, "is no JSON object")
        if dm.is_too_deep(item):
            return self._rejected(item, row, "is nested too deeply")
        fields = self._spec.fields
        external_id = self.id_of(item)
        if external_id is None:
            return self._rejected(item, row, f"has no id at {' and '.join(fields['external_id'])}")
        subject, description = self._field_text(item, "subject"), self._field_text(item, "description")
        text_problem = _text_objection(subject, description)
        if text_problem:
            return self._rejected(item, row, f'with the id "{external_id}" {text_problem}')
        values = self._extra_values(item)
        extra = dm.whole({key: value for key, value in values.items() if value not in (None, "", [], {})})
        created_text = self._field_text(item, "created_at")
        priority_text = self._field_text(item, "priority")
        updated_text = self._field_text(item, "updated_at")
        created = moment(created_text) if created_text else None
        if self.lacks_verdicts and self._spec.verdict:
            self.lacks_verdicts = not _has_field(item, self._spec.verdict)
        stated = dm.lookup(item, self._spec.verdict) if self._spec.verdict else None
        level = priority(priority_text, self._spec.numbers) if priority_text else None
        if created_text and created is None:
            extra["created_at"] = created_text
        if priority_text and level is None:
            extra["priority"] = priority_text
        if len(dm.compact(extra)) > LONGEST_ITEM:
            rejection = "has over 1 MB beside its text; name in extra what of it is kept"
            return self._rejected(item, row, f'with the id "{external_id}" {rejection}')
        draft = dm.TicketDraft(
            row,
            0,
            subject,
            description,
            self._field_text(item, "customer_id"),
            level,
            created,
            external_id,
            self._spec.name,
            extra,
            None if isinstance(stated, list) else _stated_text(stated),
            silent=tuple(key for key in (*values, "created_at", "priority") if key not in extra),
            size=size,
            changed_at=changed,
            delivery_ids=dm.delivery_ids_in(item),
            labels=tuple(filter(None, map(dm.label_text, stated))) if isinstance(stated, list) else None,
        )
        return dm.dated(draft, moment(updated_text)) if updated_text else draft

    def without_details(self, item: Mapping[str, Any], row: int, status: int) -> dm.Rejected:
        """Return the rejection of an item whose own request was answered with this status."""
        rejection = f'with the id "{self.id_of(item)}" has no details: its request was answered {status}'
        return self._rejected(item, row, rejection)

    def on_long_line(self, beginning: str, row: int) -> dm.Rejected:
        """Return the rejection of an item of which only the beginning was read, since its line is too long."""
        return dm.Rejected(row, 0, dm.RowError(f"{self._spec.name}: item {row + 1} is on a line over 8 MB"), beginning)

    def changed(self, item: object) -> str | None:
        """Return the time of an item's last change as ISO 8601 UTC; None if it is unknown."""
        time_text = json_cell(dm.lookup(item, self._spec.cursor.field)) if self._spec.cursor.field else ""
        return moment(time_text) if time_text else None

    def _rejected(self, item: object, row: int, why: str) -> dm.Rejected:
        try:
            item_json = dm.writable_text(dm.compact(item))
        except RecursionError:
            item_json = ""
        return dm.Rejected(row, 0, dm.RowError(f"{self._spec.name}: item {row + 1} {why}"), item_json)

    def id_of(self, item: object) -> str | None:
        """Return the id of an item, joined from its parts; None if a part is missing."""
        id_paths = self._spec.fields["external_id"]
        id_parts = [part for path in id_paths if (part := _stated_text(dm.lookup(item, path)))]
        if len(id_parts) < len(id_paths):
            return None
        return dm.joined_id(id_parts) if len(id_parts) > 1 else id_parts[0]

    def _field_text(self, item: object, field: str) -> str | None:
        field_paths = self._spec.fields.get(field, ())
        field_texts = [part for path in field_paths if (part := _stated_text(dm.lookup(item, path)))]
        if field_texts and field in self._spec.html:
            from triage_cli.readers import mail_html

            field_texts = [text for each in field_texts if (text := mail_html.plain(each))]
        return "#".join(field_texts) or None

    def _extra_values(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `extra` of an item: the chosen paths, else everything but the fields and the cursor."""
        if self._spec.extra is not None:
            return {path: dm.lookup(item, path) for path in (*self._spec.extra, *self._spec.labels)}
        labels = {path: dm.lookup(item, path) for path in self._spec.labels}
        return labels | {key: value for key, value in item.items() if key not in self._taken_paths}


def _has_field(item: object, path: str) -> bool:
    """Return whether an item has the field at a path, also if it is empty or stands in what is empty."""
    path_keys = path.split(".")
    for field_depth in range(len(path_keys), 0, -1):
        field_path, parent_path = ".".join(path_keys[:field_depth]), ".".join(path_keys[: field_depth - 1])
        if dm.lookup(item, field_path) not in (None, "", [], {}):
            return field_depth == len(path_keys)
        if dm.has_place(item, field_path) and not isinstance(dm.lookup(item, parent_path), list):
            return True
    return False


def _stated_text(value: object) -> str | None:
    """Return the text of an item's value; None for null, an empty text or another placeholder for nothing."""
    if value is None:
        return None
    # Some programs write the id 12 as 12.0 in one answer and as 12 in the next one.
    return text_or_none(json_cell(int(value) if isinstance(value, float) and value.is_integer() else value))


def _text_objection(subject: str | None, description: str | None) -> str:
    """Return why an item's texts cannot be a ticket, else an empty text."""
    item_text = f"{subject or ''}{description or ''}"
    if not item_text:
        return "has neither subject nor description"
    if len(item_text) > LONGEST_ITEM:
        return "has a text over 1 MB"
    return "holds NUL characters" if "\0" in item_text else ""


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
            raise dm.UsageError(f"{self._name}: {why}, so the list would never end", hint="check next in the config")

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
