"""Sources of plug-ins: what is no ticket is rejected, and what comes before an error is stored."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from triage_cli import domain as dm
from triage_cli import plugins
from triage_cli.config import Config, SourceSpec
from triage_cli.extensions.plugins import loading
from triage_cli.installed import Addition
from triage_cli.ports import Pause
from triage_cli.readers import json_cell, moment, priority, text_or_none
from triage_cli.wiring import SourceType

MOST_ITEMS = 10_000  # of a page
LONGEST_ITEM = 1 << 20  # characters of a text, and of the JSON of what is kept beside it
LONGEST_POSITION = 65_536
FIELDS = ("external_id", "subject", "description", "customer_id", "priority", "created_at")


class PluginSourceType(SourceType):
    """A type of source that a plug-in adds. Raises `UsageError`."""

    def __init__(self, addition: Addition) -> None:
        self._addition = addition
        self._plugin = loading.loaded_class(addition, plugins.Source)
        self.uses_network = loading.uses_network(self._plugin)

    def opened(self, config: Config, spec: SourceSpec, _tell: Callable[[str], None]) -> "PluginSource":
        owner = f'source "{spec.name}"'
        return PluginSource(
            self._addition, spec, loading.made(self._addition, self._plugin, owner, spec.settings, config.offline)
        )

    def template_mistakes(self, spec: SourceSpec) -> Iterator[tuple[str, str]]:
        yield from loading.mistakes(self._plugin, spec.settings)

    def tried(self, config: Config, spec: SourceSpec, tell: Callable[[str], None]) -> str:
        self.opened(config, spec, tell)
        return f"reads by {self._addition.package} {self._addition.version}; not asked"


class PluginSource:
    """Implements `ports.Source` by an object of a plug-in, which begins where its own position says."""

    def __init__(self, addition: Addition, spec: SourceSpec, made: loading.Made) -> None:
        self.name = spec.name
        self.keeps_category = spec.on_update == "keep"
        self._addition, self._made = addition, made

    def pages(self, position: str | None, plan: dm.PullPlan, pause: Pause) -> Iterator[dm.SourcePage]:
        """Yield the plug-in's pages. Raises `UnavailableError` if it fails, after what came before."""
        del pause  # a plug-in waits by itself
        if plan.since is not None:
            raise dm.UsageError(f"{self.name}: it begins where its own position says", hint="leave out --since")
        row = 0
        for items, next_position in self._given(position):
            drafts = [self._draft(item, number) for number, item in enumerate(items, row)]
            row += len(drafts)
            yield dm.SourcePage(drafts, next_position)

    def _given(self, position: str | None) -> Iterator[tuple[list[Any], str | None]]:
        """Yield what the plug-in yields, held to its bounds."""
        with loading.spoken_by(self._addition):
            try:
                given = iter(self._made.plugin.pages(position))
            except loading.FAULTS as error:
                raise self._failed(error) from error
        while True:
            with loading.spoken_by(self._addition):
                try:
                    page = next(given, None)
                    if page is None:
                        return
                    items, next_position = page
                    listed = list(islice(items, MOST_ITEMS + 1))
                except loading.FAULTS as error:
                    raise self._failed(error) from error
            if len(listed) > MOST_ITEMS:
                raise self._broken(f"yielded a page of more than {MOST_ITEMS:,} tickets")
            if next_position is not None and not (
                isinstance(next_position, str) and len(next_position) <= LONGEST_POSITION
            ):
                raise self._broken(f"yielded a position that is no text of at most {LONGEST_POSITION:,} characters")
            yield listed, next_position

    def _failed(self, error: BaseException) -> dm.UnavailableError:
        kind, words = loading.failure_of(error, self._made.secrets)
        return self._broken(f"raised {kind}{f': {words}' if words else ''}")

    def _broken(self, what: str) -> dm.UnavailableError:
        return dm.UnavailableError(
            f"{self.name}: {self._addition.words} {what}",
            hint="what came before is stored; the same command goes on from there",
        )

    def _draft(self, item: Any, row: int) -> dm.TicketDraft | dm.Rejected:
        try:
            return self._read(item, row)
        except dm.RowError as problem:
            return dm.Rejected(row, 0, problem, "")

    def _read(self, item: Any, row: int) -> dm.TicketDraft:
        """Return the draft of an item. Raises `RowError` for what is no ticket."""

        def wrong(why: str) -> dm.RowError:
            return dm.RowError(f"{self.name}: ticket {row + 1} {why}")

        if not isinstance(item, Mapping) or not all(isinstance(key, str) for key in item):
            raise wrong("is no mapping of texts to values")
        try:
            rest_size = len(dm.compact({key: value for key, value in item.items() if key not in FIELDS}))
            texts = {field: _text(item.get(field)) for field in FIELDS}
        except (TypeError, ValueError, RecursionError) as error:
            raise wrong("holds what JSON has not") from error
        if texts["external_id"] is None:
            raise wrong("has no external_id, so it would come again as another one")
        text = f"{texts['subject'] or ''}{texts['description'] or ''}"
        if not text or "\0" in text or len(text) > LONGEST_ITEM or rest_size > LONGEST_ITEM:
            raise wrong("has no text" if not text else "has over 1 MB, or NUL characters")
        level = priority(texts["priority"], {}) if texts["priority"] else None
        created = moment(texts["created_at"]) if texts["created_at"] else None
        unread = {"priority": level, "created_at": created}
        extra = {key: value for key, value in item.items() if key not in FIELDS and value not in (None, "", [], {})}
        extra |= {field: texts[field] for field, read in unread.items() if read is None and texts[field]}
        return dm.TicketDraft(
            row,
            subject=texts["subject"],
            description=texts["description"],
            customer_id=texts["customer_id"],
            priority=level,
            created_at=created,
            external_id=texts["external_id"],
            source=self.name,
            extra=dm.whole(extra),
            size=len(text) + rest_size,
        )


def _text(value: object) -> str | None:
    return None if value is None else text_or_none(json_cell(value))
