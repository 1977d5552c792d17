"""`triage doctor`: tests everything that is configured, and says the next step for each failure."""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Annotated, Any

import typer

from triage_cli import wiring
from triage_cli.cli import messages
from triage_cli.cli.command import command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.config import Config, without_password
from triage_cli.domain.errors import DeliveryError, TriageError, UsageError
from triage_cli.domain.evaluation import threshold_sentences
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.domain.insight.stats import Stats
from triage_cli.domain.runs import Lease

COLUMNS = ("what", "works", "said", "next")


@command
def doctor(
    session: CommandContext,
    send: Annotated[
        str | None, typer.Option(metavar="NAME", help="Send this destination one marked test ticket.")
    ] = None,
    *,
    printing: PrintOptions,
) -> int:
    """Test everything that is configured: ask each classifier a small question, check each destination without sending.

    Each source is asked for new items, and nothing is stored. Exit code 8 if one fails.

    \b
    triage doctor
    triage doctor --send billing-chat
    """
    check_records = list(_tried(session)) if send is None else [_sent(session, send)]
    printing.printer().all_of(check_records, COLUMNS, drawn_by("tables.checks"), "what")
    return ExitCode.OK if all(record["works"] is not False for record in check_records) else ExitCode.CHECK_FAILED


def _tried(session: CommandContext) -> Iterator[dict[str, Any]]:
    config = session.config
    yield _record("configuration", str(config.path or "the built-in defaults"))
    stats, off, failed = None, frozenset[str](), False
    not_asked = ("", "")  # why no provider is asked, and what to do
    try:
        if session.has_database:
            stats = session.triage.stats()
            session.store.renew(Lease(""))  # changes nothing, but fails without the right to write
            off = session.store.switched_off()
            contents = f"{messages.plural(stats.tickets, 'tickets')}, {messages.plural(stats.events, 'events')}"
        else:
            wiring.stores.check_place(config)
            contents = "not there yet; triage create FILE makes one"
            not_asked = ("its call is booked, and there is no database for that yet", "triage create FILE")
            session.lend_database()
        yield _record("database", f"{without_password(config.database)}: {contents}")
    except TriageError as error:
        yield _record("database", error.message, error.hint, works=False)
        not_asked = ("its call is booked in the database, which does not work", "mend the database")
        stats, failed = None, True
        session.lend_database(instead=True)
    yield from _classifiers(session, *not_asked)
    yield from _destinations(config, off)
    if stats is not None:
        yield from _missing_destinations(config, stats)
    yield from _sources(session)
    if not failed:
        yield from _learned(session)


def _classifiers(session: CommandContext, not_asked: str, first: str) -> Iterator[dict[str, Any]]:
    for name in session.config.classifiers:
        if not_asked and wiring.classifier_diagnostics.asks_provider(session.config, name):
            yield _record(f"classifier {name}", f"not asked: {not_asked}", f"{first}, then triage doctor", works=None)
            continue
        test = partial(wiring.classifier_diagnostics.try_classifier, session.config, name, *session.signature)
        yield _tested(f"classifier {name}", test)


def _destinations(config: Config, off: AbstractSet[str]) -> Iterator[dict[str, Any]]:
    for name in config.destinations:
        if name in off:
            why = "it answered that it is gone (410) and is switched off"
            yield _record(f"destination {name}", why, "triage route --retry-dead switches it on again", works=False)
            continue
        test = partial(wiring.destination_diagnostics.try_destination, config, name)
        yield _tested(f"destination {name}", test)


def _missing_destinations(config: Config, stats: Stats) -> Iterator[dict[str, Any]]:
    """Yield the destinations that are not configured any more, though deliveries to them are not settled."""
    for name, states in sorted(stats.deliveries.items()):
        pending, dead = states.get("pending", 0), states.get("dead", 0)
        if name not in config.destinations and (pending or dead):
            unsettled = [
                messages.plural(number, many, one)
                for number, many, one in (
                    (pending, "pending deliveries", "pending delivery"),
                    (dead, "dead letters", "dead letter"),
                )
                if number
            ]
            finding = f"not in the config, but has {', '.join(unsettled)}"
            yield _record(f"destination {name}", finding, wiring.destinations.DECIDE_ANEW, works=False)


def _sources(session: CommandContext) -> Iterator[dict[str, Any]]:
    for name, spec in session.config.sources.items():
        if session.config.offline and spec.type != "command":
            hint = "leave out --offline (also TRIAGE_OFFLINE and offline: in the config)"
            yield _record(f"source {name}", "not tried: the network is switched off", hint, works=None)
            continue
        yield _tested(f"source {name}", partial(wiring.sources.try_source, session.config, name, messages.say))


def _sent(session: CommandContext, name: str) -> dict[str, Any]:
    """Send a test ticket. Raises `UsageError` if there is no destination of this name."""
    if name not in session.config.destinations:
        raise UsageError(f'no destination "{name}" in the config', hint="triage config show lists them")
    try:
        return _record(f"destination {name}", wiring.destination_diagnostics.send_test(session.config, name))
    except TriageError as error:
        answer = f"; it said: {error.answer}" if isinstance(error, DeliveryError) and error.answer else ""
        hint = "" if answer else error.hint
        return _record(f"destination {name}", error.message + answer, hint, works=False)


def _learned(session: CommandContext) -> Iterator[dict[str, Any]]:
    try:
        version = wiring.classifier_diagnostics.learned_version(session.config)
        if version is not None:
            yield _record("learned model", version[0], "" if version[1] else "triage learn", works=version[1])
        for name, calibration, holds in wiring.classifier_diagnostics.calibrations(session.config):
            fitted = f"fitted to {calibration.n:,} labelled tickets on {calibration.at[:10]}"
            if holds:
                yield _record(f"calibration {name}", fitted)
            else:
                hint = f"triage eval FILE --classifier {name} --calibrate"
                why = f"{fitted}; model, prompt or categories changed since, so it is retired"
                yield _record(f"calibration {name}", why, hint, works=False)
        for name, max_error, bounds in wiring.classifier_diagnostics.promised(session.config):
            kept = all(bound.threshold is not None for bound in bounds.values())
            hint = "" if kept else f"triage eval FILE --classifier {name} --calibrate, or give verdicts"
            yield _record(
                f"promise {name}", threshold_sentences.summary(max_error, bounds.values()), hint, works=kept or None
            )
    except TriageError as error:
        yield _record("learned model", error.message, error.hint, works=False)


def _tested(what: str, test: Callable[[], str]) -> dict[str, Any]:
    """Return the record of a test, which returns what it has found, or raises why something does not work."""
    try:
        return _record(what, test())
    except TriageError as error:
        return _record(what, error.message, error.hint, works=False)


def _record(what: str, finding: str, hint: str = "", *, works: bool | None = True) -> dict[str, Any]:
    """Return the record of one test; `works` is None if it is unknown, which is no failure."""
    return dict(zip(COLUMNS, (what, works, finding, hint), strict=True))
