"""`triage doctor`: tests everything that is configured, and says the next step for each failure."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any

from triage_cli import domain as dm
from triage_cli import hooks, wiring
from triage_cli.cli import messages
from triage_cli.cli.command import command
from triage_cli.cli.command_list import COMMANDS
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import option
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.config import (
    CLASSIFIER_TYPES,
    DESTINATION_TYPES,
    SOURCE_TYPES,
    TOP_KEYS,
    Config,
    DestinationSpec,
    without_password,
)
from triage_cli.hooks import Hook
from triage_cli.installed import Addition, additions

DOCTOR_COLUMNS = ("what", "works", "said", "next")


@command
def doctor(
    context: CommandContext,
    send: Annotated[str | None, option("NAME", "Send this destination one marked test ticket.")] = None,
    *,
    printing: PrintOptions,
) -> int:
    """Test everything that is configured: ask each classifier a small question, check each destination without sending.

    Each source is asked for new items, and nothing is stored. Exit code 8 if one fails.

    \b
    triage doctor
    triage doctor --send billing-chat
    """
    doctor_records = list(_doctor_records(context)) if send is None else [_doctor_test_ticket(context, send)]
    printing.printer().all_of(doctor_records, DOCTOR_COLUMNS, drawn_by("tables.checks"), "what")
    return (
        dm.ExitCode.OK if all(record["works"] is not False for record in doctor_records) else dm.ExitCode.CHECK_FAILED
    )


def _doctor_records(context: CommandContext) -> Iterator[dict[str, Any]]:
    config = context.config
    yield _doctor_record("configuration", str(config.path or "the built-in defaults"))
    stats, switched_off_names, database_failed = None, frozenset[str](), False
    lately: Mapping[str, dm.Lately] = {}
    not_asked_because = ("", "")  # why no provider is asked, and what to do
    try:
        if context.has_database:
            stats = context.triage.stats()
            context.store.runs.renew(dm.Lease(""))  # changes nothing, but fails without the right to write
            switched_off_names = context.store.deliveries.switched_off()
            lately = context.store.deliveries.lately()
            tickets, events = messages.plural(stats.tickets, "tickets"), messages.plural(stats.events, "events")
            database_contents = f"{tickets}, {events}"
        else:
            wiring.stores.check_database_place(config)
            database_contents = "not there yet; triage create FILE makes one"
            not_asked_because = ("its call is booked, and there is no database for that yet", "triage create FILE")
            context.lend_database()
        yield _doctor_record("database", f"{without_password(config.database)}: {database_contents}")
    except dm.TriageError as database_error:
        yield _doctor_record("database", database_error.message, database_error.hint, works=False)
        not_asked_because = ("its call is booked in the database, which does not work", "mend the database")
        stats, database_failed = None, True
        context.lend_database(instead=True)
    yield from _doctor_classifiers(context, *not_asked_because)
    yield from _doctor_destinations(config, switched_off_names, lately)
    if stats is not None:
        yield from _doctor_missing_destinations(config, stats)
    yield from _doctor_sources(context)
    yield from _doctor_plugins()
    if not database_failed:
        yield from _doctor_learned_models(context)


def _doctor_classifiers(context: CommandContext, not_asked_because: str, first_step: str) -> Iterator[dict[str, Any]]:
    for name in context.config.classifiers:
        if not_asked_because and wiring.classifier_diagnostics.asks_provider(context.config, name):
            finding, hint = f"not asked: {not_asked_because}", f"{first_step}, then triage doctor"
            yield _doctor_record(f"classifier {name}", finding, hint, works=None)
            continue
        doctor_test = partial(wiring.classifier_diagnostics.try_classifier, context.config, name, *context.signature)
        yield _doctor_test_record(f"classifier {name}", doctor_test)


def _doctor_destinations(
    config: Config, switched_off_names: AbstractSet[str], lately: Mapping[str, dm.Lately]
) -> Iterator[dict[str, Any]]:
    for name, spec in config.destinations.items():
        if name in switched_off_names:
            finding = "it answered that it is gone (410) and is switched off"
            hint = "triage route --retry-dead switches it on again"
            yield _doctor_record(f"destination {name}", finding, hint, works=False)
            continue
        doctor_test = partial(wiring.destination_diagnostics.try_destination, config, name)
        yield _doctor_test_record(f"destination {name}", doctor_test, *_destination_doubts(config, spec, lately))


def _destination_doubts(config: Config, spec: DestinationSpec, lately: Mapping[str, dm.Lately]) -> tuple[str, str]:
    """Return why it is not known whether a destination works, which the check does not show, and what shows it."""
    last, is_asked = lately.get(spec.name, dm.Lately()), wiring.destination_diagnostics.is_asked(spec)
    doubts = [] if is_asked else ["not asked"]
    if last.failed:
        doubts.append("last attempt failed" if last.failed == 1 else f"last {last.failed:,} attempts failed")
    elif last.accepted_at and not is_asked:
        doubts.append(f"last attempt accepted on {last.accepted_at[:10]}")
    if last.held_up:
        held_up = messages.plural(last.held_up, "pending deliveries", "pending delivery")
        doubts.append(f"{held_up}: {last.error}")
    is_off = spec.name in wiring.destinations.offline_destinations(config)
    return "; ".join(doubts), "" if is_off or not doubts else f"triage doctor --send {spec.name}"


def _doctor_missing_destinations(config: Config, stats: dm.Stats) -> Iterator[dict[str, Any]]:
    """Yield the doctor's records of destinations that left the configuration, though deliveries are not settled."""
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
            yield _doctor_record(
                f"destination {name}", finding, wiring.destinations.UNKNOWN_DESTINATION_HINT, works=False
            )


def _doctor_sources(context: CommandContext) -> Iterator[dict[str, Any]]:
    for name, spec in context.config.sources.items():
        if _waits_offline(context.config, name):
            hint = "leave out --offline (also TRIAGE_OFFLINE and offline: in the config)"
            yield _doctor_record(f"source {name}", "not tried: the network is switched off", hint, works=None)
            continue
        doctor_test = partial(wiring.sources.try_source, context.config, name, messages.say)
        doubts = ("not run", f"triage pull {name} --dry-run") if spec.type == "command" else ("", "")
        yield _doctor_test_record(f"source {name}", doctor_test, *doubts)


def _waits_offline(config: Config, source_name: str) -> bool:
    with suppress(dm.UsageError):  # what is wrong with its type, the test tells
        return wiring.sources.waits_offline(config, source_name)
    return False


def _doctor_test_ticket(context: CommandContext, name: str) -> dict[str, Any]:
    """Send a test ticket, and return the doctor's record of it. Raises `UsageError` for an unknown destination."""
    if name not in context.config.destinations:
        raise dm.UsageError(f'no destination "{name}" in the config', hint="triage config show lists them")
    try:
        return _doctor_record(f"destination {name}", wiring.destination_diagnostics.send_test(context.config, name))
    except dm.TriageError as send_error:
        answer = (
            f"; it said: {send_error.answer}" if isinstance(send_error, dm.DeliveryError) and send_error.answer else ""
        )
        hint = "" if answer else send_error.hint
        return _doctor_record(f"destination {name}", send_error.message + answer, hint, works=False)


def _doctor_learned_models(context: CommandContext) -> Iterator[dict[str, Any]]:
    try:
        for question, finding, hint in wiring.classifier_diagnostics.learned_versions(context.config):
            what = "learned model" if question == dm.CATEGORY else f"learned model of {question}"
            yield _doctor_record(what, finding, hint, works=not hint)
        for name, calibration, holds in wiring.classifier_diagnostics.calibrations(context.config):
            fitted_to = f"fitted to {calibration.n:,} labelled tickets on {calibration.at[:10]}"
            if holds:
                yield _doctor_record(f"calibration {name}", fitted_to)
            else:
                hint = f"triage eval FILE --classifier {name} --calibrate"
                finding = f"{fitted_to}; model, prompt or categories changed since, so it is retired"
                yield _doctor_record(f"calibration {name}", finding, hint, works=False)
        for what, meaning in wiring.classifier_diagnostics.meanings(context.config, has_database=context.has_database):
            yield _doctor_record(what, meaning, works=None)
        for name, question, max_error, bounds in wiring.classifier_diagnostics.promised_errors(context.config):
            what = f"promise {name}" if question == dm.CATEGORY else f"promise {name}, {question}"
            about = name if question == dm.CATEGORY else f"{name} --question {question}"
            yield _doctor_promise(what, about, max_error, bounds)
        for rule, name, max_error, bounds in wiring.classifier_diagnostics.rule_promises(context.config):
            yield _doctor_promise(f"promise {rule}, {name}", name, max_error, bounds)
    except dm.TriageError as model_error:
        yield _doctor_record("learned model", model_error.message, model_error.hint, works=False)


def _doctor_promise(
    what: str, about: str, max_error: dm.MaxError, bounds: Mapping[str, dm.ErrorBound]
) -> dict[str, Any]:
    """Return the doctor's record of a promise; that more labels are needed is no failure.

    `about` is the classifier, and the question unless that is the category, as `triage eval` has them.
    """
    is_kept = not dm.shortage(bounds.values())
    hint = "" if is_kept else f"triage eval FILE --classifier {about} --calibrate, or give verdicts"
    return _doctor_record(what, dm.bounds_summary(max_error, bounds), hint, works=is_kept or None)


def _doctor_plugins() -> Iterator[dict[str, Any]]:
    """Yield the doctor's record of each plug-in: its version and origin, what it adds, and whether that can be used."""
    by_package = groupby(sorted(additions(), key=attrgetter("package")), attrgetter("package"))
    for package, grouped in by_package:
        its_additions = list(grouped)
        names = ", ".join(f"{each.kind} {each.name}" for each in its_additions)
        finding = f"{its_additions[0].version} in {its_additions[0].folder}: {names}"
        faults = [fault for each in its_additions if (fault := _fault(each))]
        hint = f"mend it, or remove it: pip uninstall {package}" if faults else ""
        yield _doctor_record(f"plug-in {package}", "; ".join((finding, *faults)), hint, works=not faults)


def _fault(addition: Addition) -> str:
    """Return why an addition of a plug-in is not used; empty if it can be."""
    ours = {Hook.CLASSIFIER: CLASSIFIER_TYPES, Hook.DESTINATION: DESTINATION_TYPES, Hook.SOURCE: SOURCE_TYPES}
    ours |= {Hook.COMMAND: tuple(COMMANDS), Hook.KEY: tuple(TOP_KEYS)}
    if addition.kind not in hooks.OPEN_TO_OTHERS:
        return f"no plug-in adds a {addition.kind}"
    if addition.name in ours[Hook(addition.kind)]:
        return f"the {addition.kind} {addition.name} is not used, since triage has one of this name"
    try:
        hooks.added(Hook(addition.kind), addition.name)
    except dm.UsageError as fault:
        return fault.message
    return ""


def _doctor_test_record(
    what: str, doctor_test: Callable[[], str], doubts: str = "", next_step: str = ""
) -> dict[str, Any]:
    """Return the doctor's record of a test, which returns what it found, or raises why something does not work.

    `doubts` are what it leaves open; then nobody knows yet whether that works, and `next_step` shows it.
    """
    try:
        finding = doctor_test()
        return (
            _doctor_record(what, f"{finding}; {doubts}", next_step, works=None)
            if doubts
            else _doctor_record(what, finding)
        )
    except dm.TriageError as test_error:
        return _doctor_record(what, test_error.message, test_error.hint, works=False)


def _doctor_record(what: str, finding: str, hint: str = "", *, works: bool | None = True) -> dict[str, Any]:
    """Return the doctor's record of one test; `works` is None if it is unknown, which is no failure."""
    return dict(zip(DOCTOR_COLUMNS, (what, works, finding, hint), strict=True))
