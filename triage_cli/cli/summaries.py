"""What several commands say at their end: counts, what waits, what was learned, and what to do next."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import messages, terminal
from triage_cli.cli.context import CommandContext

if TYPE_CHECKING:  # most commands learn nothing
    pass

CREATE_ACTIONS = ("created", "updated", "unchanged", "rejected")
MANY = 10  # tickets that wait, from which on a summary says what makes them fewer
MANY_VERDICTS = 50  # a version that learned from so many is worth measuring
FIRST_WEEK = "docs/howto/first-week.md"
WHAT_HELPS = f"{MANY_VERDICTS} verdicts in triage review, then triage learn, help most ({FIRST_WEEK})"


def history_note(actions: Mapping[str, int]) -> str:
    """Return a note of the rows that taught the model and are no tickets; empty if there are none."""
    number = actions.get(dm.Action.HISTORY, 0)
    rows = messages.plural(number, "rows are history that", "row is history that")
    return f"note: {rows} the model has learned from: not stored, and not sent again" if number else ""


class NextStep(Enum):
    """What leads to `route`, in this order: nobody is sent there before somebody measured what machines would send."""

    LOOK = "look"  # at a remote, of which it is not known here what was measured
    REVIEW = "review"
    LEARN = "learn"
    EVAL = "eval"
    MISTRUST = "mistrust"  # what was measured is too bad to be sent
    DRY_RUN = "dry run"
    ROUTE = "route"


def next_step(context: CommandContext) -> NextStep:
    """Return the next step by what was measured of the classifier and categories in use, and by the verdicts."""
    if context.is_remote:
        return NextStep.LOOK
    kinds = wiring.classifier_diagnostics.Measured
    steps = {kinds.EVALUATED: NextStep.ROUTE, kinds.HELD_OUT: NextStep.DRY_RUN, kinds.MISTRUSTED: NextStep.MISTRUST}
    if step := steps.get(wiring.classifier_diagnostics.measured(context.config)):
        return step
    if not _is_learning(context):
        return NextStep.EVAL
    if _verdicts(context) == MANY_VERDICTS:
        return NextStep.LEARN
    is_all_decided = not _are_any(context, "needs_review") and not _are_any(context, "classified", verdict=False)
    return NextStep.ROUTE if is_all_decided else NextStep.REVIEW


def _is_learning(context: CommandContext) -> bool:
    """Return whether verdicts teach the classifier."""
    return context.config.classifiers[context.config.classifier].type == "local"


def _review(context: CommandContext) -> str:
    """Return the command that shows tickets for a person to decide."""
    return "triage review" if _are_any(context, "needs_review") else "triage review --all"


def _are_any(context: CommandContext, status: str, *, verdict: bool | None = None) -> bool:
    """Return whether there are tickets of a status, with a verdict or without one if that is asked."""
    return any(context.triage.find(dm.Selection(statuses=frozenset({status}), verdict=verdict, limit=1)))


def _verdicts(context: CommandContext) -> int:
    """Return how many verdicts there are, at most `MANY_VERDICTS`."""
    return sum(1 for _ in islice(wiring.open_model_registry(context.store).labelled(), MANY_VERDICTS))


def said(context: CommandContext, step: NextStep) -> str:
    """Return a step in words, with those that follow it."""
    measure = f"triage eval FILE, since nobody has measured these answers ({FIRST_WEEK})"
    match step:
        case NextStep.LOOK:
            words = "triage list --status classified shows what is sure"
        case NextStep.REVIEW:
            missing = messages.plural(MANY_VERDICTS - _verdicts(context), "verdicts")
            words = f"{_review(context)}, {missing} more; then triage learn; then {measure}"
        case NextStep.LEARN:
            words = f"triage learn; then {measure}"
        case NextStep.EVAL:
            words = measure
        case NextStep.MISTRUST:
            is_learning = _is_learning(context)
            mend = "more verdicts; then triage learn" if is_learning else "then a higher min_confidence"
            words = f"{_review(context)}, {mend}; then triage eval FILE, which found too many sure answers wrong"
        case NextStep.DRY_RUN:
            words = "triage eval FILE; then triage route --dry-run"
        case NextStep.ROUTE:
            words = "triage route"
    return words


def step_to_routing(context: CommandContext) -> str:
    """Return the next step in words, where tickets have a category that was not sent yet."""
    return said(context, next_step(context))


def are_any_to_send(context: CommandContext) -> bool:
    """Return whether tickets have a category that was not sent yet."""
    return _are_any(context, "classified")


def after_storing(context: CommandContext, statuses: Collection[str]) -> str:
    """Return the message about the next step after tickets of these statuses were stored; empty if there is none."""
    if "new" in statuses:
        return "next: triage classify"
    return f"next: {step_to_routing(context)}" if "classified" in statuses else ""


def waiting_line(context: CommandContext, waiting: int, total: int) -> str:
    """Return how many of a command's tickets wait for a person, and what makes them fewer; nothing if none wait.

    That is said where more than half wait, and where a person's own categories were neither taught nor evaluated.
    """
    is_many = waiting >= MANY and (
        2 * waiting > total
        or (not context.is_remote and wiring.classifier_diagnostics.answers_untaught(context.config))
    )
    return f"{waiting:,} of {total:,} wait: {WHAT_HELPS}" if is_many else messages.need_you(waiting)


def step_after_routing(route_counts: Counter[str], needs_you: str, routed: str = "") -> str:
    """Return where tickets were routed (`routed_to_line`), and what a person must do (`waiting_line`)."""
    next_steps = [routed] if routed else []
    if needs_you:
        next_steps.append(needs_you)
    if route_counts["undeliverable"]:
        undeliverable = f"{route_counts['undeliverable']:,} undeliverable"
        next_steps.append(f"{undeliverable}: triage why ID, then triage route --retry-dead")
    return "; ".join(next_steps)


def waits_for_others(context: CommandContext, command: str) -> str:
    """Return what the stored tickets wait for, where a command found nothing to do: other commands, or nothing."""
    by_status = context.triage.stats().by_status
    number, undecided = by_status.get("classified", 0), by_status.get("needs_review", 0)
    unasked = by_status.get("new", 0) + by_status.get("failed", 0)
    waiting_for = {
        "classify": f"{messages.plural(unasked, 'have', 'has')} no answer yet: triage classify" if unasked else "",
        "review": messages.need_you(undecided),
        "route": f"{number:,} classified: {step_to_routing(context)}" if number else "",
    }
    return messages.joined(*(line for name, line in waiting_for.items() if name != command))


def routed_to_line(context: CommandContext, routed_places: Counter[str]) -> str:
    """Return how many tickets were routed where; empty if none were."""
    return f"{routed_places.total():,} routed to {places_and_files(context, routed_places)}" if routed_places else ""


def places_and_files(context: CommandContext, routed_places: Counter[str]) -> str:
    """Return the destinations that tickets were routed to, and where the files among them are, if they are here."""
    names = {name for places in routed_places for name in places.split(", ")}
    specs = {} if context.is_remote else context.config.destinations
    files = [path for name, spec in specs.items() if name in names and (path := spec.path) is not None]
    if len(names) == 1 and files:
        return f"{names.pop()} ({_from_here(files[0])})"
    if len(routed_places) == 1:  # whose number of tickets stands before
        return next(iter(routed_places))
    folders = ", ".join(dict.fromkeys(_from_here(path.parent) for path in files))
    return listed_places(routed_places) + (f" (files in {folders})" if folders else "")


def _from_here(path: Path) -> str:
    """Return a path as it is typed in the present folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def listed_places(routed_places: Counter[str]) -> str:
    """Return the destinations that tickets were routed to, each with its number of tickets."""
    return ", ".join(f"{place} ({tickets:,})" for place, tickets in routed_places.most_common())


def waiting_offline(context: CommandContext, stats: Callable[[], dm.Stats]) -> str:
    """Return how many deliveries wait for the network, if it is switched off; else nothing."""
    offline_names = frozenset() if context.is_remote else wiring.destinations.offline_destinations(context.config)
    destination_states = stats().deliveries if offline_names and not context.quiet else {}
    pending = {name: destination_states.get(name, {}).get("pending", 0) for name in sorted(offline_names)}
    waiting_deliveries = {name: number for name, number in pending.items() if number}
    if not waiting_deliveries:
        return ""
    deliveries_wait = messages.plural(sum(waiting_deliveries.values()), "deliveries wait", "delivery waits")
    listed_destinations = ", ".join(f"{name} {number:,}" for name, number in waiting_deliveries.items())
    return f"offline: {deliveries_wait} for the network ({listed_destinations})"


def say_waiting_batches(context: CommandContext, stats: Callable[[], dm.Stats]) -> None:
    """Print how many tickets wait in providers' batches to be classified, and since when."""
    for name, waits in ({} if context.quiet else stats().waiting).items():
        since = f"{terminal.local_times(waits['since'])[:16].replace('T', ' ')} ({terminal.time_zone()})"
        waiting = messages.plural(waits["tickets"], "wait in batches", "waits in batches")
        context.say(f"{waiting} of {name}, since {since}")


def step_after_learning(training_report: "dm.TrainingReport", to_routing: Callable[[], str]) -> str:
    """Return what to do after `triage learn`, or nothing; `to_routing` is asked for what leads to `route` now."""
    if training_report.outcome != "rolled_back" and training_report.after is None:
        return "next: give verdicts in triage review, or name a labelled file: triage learn FILE"
    if training_report.looked is None:
        return ""
    second_look = training_report.looked
    next_steps = messages.joined(
        to_routing() if second_look.settled + second_look.flipped else "",
        "triage review" if second_look.doubted + second_look.waiting else "",
    )
    return f"next: {next_steps}" if next_steps else ""


def lessons_summary(lessons: "Iterable[dm.Lesson]") -> Iterator[str]:
    """Yield the lines of `learning_summary` about each question; those of a further one name it."""
    for question, _, report in lessons:
        for line in learning_summary(report, question):
            yield line if question == dm.CATEGORY else f"{question}: {line}"


def learning_summary(training_report: "dm.TrainingReport", question: str) -> Iterator[str]:
    """Yield a line about the version in use and the reason, and one about the changes of its second look."""
    in_use = f"version {training_report.version}" if training_report.version else "the built-in model"
    if training_report.outcome == "rolled_back":
        yield training_report.reason
    elif training_report.outcome == "learned":
        weight, unlabelled = training_report.unlabelled_weight, training_report.unlabelled
        and_unlabelled = f" and, at weight {weight:g}, from {unlabelled:,} without a label" if unlabelled else ""
        learned_from = f"{training_report.labelled:,}{and_unlabelled}"
        if training_report.after is None:
            yield f"{in_use} is in use, learned from {learned_from}; {training_report.reason}"
        else:
            how_good = _how_good(training_report.before, training_report.after)
            yield f"{in_use} is in use, {how_good}: {training_report.reason}; learned from {learned_from}"
    else:
        yield f"{in_use} stays in use: {training_report.reason}"
    if missing := training_report.missing:
        are_missing = messages.plural(
            missing, "labels of the version before are missing", "label of the version before is missing"
        )
        about = "" if question == dm.CATEGORY else f" --question {question}"
        yield f"{are_missing}, since earlier releases did not store those of a file: triage learn FILE{about}"
    if training_report.looked is not None:
        yield _second_look_line(training_report.looked, question)


def outlook(measured: "dm.TrainingReport | dm.Scored", question: str = dm.CATEGORY) -> Iterator[str]:
    """Yield what measured answers recommend, and what more labels would do, a line each."""
    about = "" if question == dm.CATEGORY else f"{question}: "
    if measured.recommendation is not None:
        yield f"{about}recommended: {measured.recommendation.sentence}"
    if measured.forecast is not None:
        yield f"{about}forecast: {measured.forecast.sentence}"


def _how_good(before: "dm.Figures | None", after: "dm.Figures") -> str:
    """Return how a version that was taken compares with the one before, of which it is never worse beyond chance."""
    if before is None or (after.log_loss < before.log_loss and after.accuracy >= before.accuracy):
        return "which is better"
    return f"as good as the one before, as far as {messages.plural(after.n, 'held-out tickets')} can tell"


def _second_look_line(second_look: "dm.Looked", question: str) -> str:
    """Return a line about the changes of a second look: an open question need not hold its ticket for a person."""
    for_person = (
        (second_look.doubted, "doubted, which wait for a person now", "doubted, which waits for a person now"),
        (second_look.settled, "no longer wait", "no longer waits"),
        (second_look.flipped, "got another category", None),
    )
    of_question = (
        (second_look.doubted, "not sure any more", None),
        (second_look.settled, "sure now", None),
        (second_look.flipped, "got another value", None),
    )
    look_counts = (
        *(for_person if question == dm.CATEGORY else of_question),
        (second_look.held, "held by another run", None),
    )
    look_changes = [f"{number:,} {one if one and number == 1 else many}" for number, many, one in look_counts if number]
    looked_at = messages.plural(second_look.tickets, "tickets")
    return f"it looked again at {looked_at}: {', '.join(look_changes) or 'nothing changed'}"
