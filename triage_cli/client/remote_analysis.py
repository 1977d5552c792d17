"""The analysis on another instance, over the connection of a `RemoteTriage`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

from triage_cli.client import wire_format
from triage_cli.client.http_connection import UNKNOWN_TO_REMOTE, UPGRADE, Params, known_to_remote
from triage_cli.client.remote_triage import RemoteTriage, stats_group
from triage_cli.client.upload import Upload, UploadPlan
from triage_cli.domain import (
    CATEGORY,
    GROUP_LISTS,
    LABEL_SOURCE,
    TOPIC_CHARACTERS,
    TOPIC_LABEL,
    ClassifyPlan,
    ConfigError,
    Discovery,
    Drift,
    Evaluated,
    Foreseen,
    LabelCounts,
    Labelled,
    Lesson,
    NewConfiguration,
    Outcome,
    Plan,
    Proposal,
    Report,
    SpikeSearch,
    SpikeSending,
    SuspectReport,
    TicketDraft,
    TopicText,
    TrainingReport,
    UsageError,
    ids,
    timestamp,
)
from triage_cli.ports import TellProgress

T = TypeVar("T")

LONG_TIMEOUT = httpx.Timeout(3600.0, connect=10.0)  # in seconds, of what compares or learns many tickets


class RemoteAnalysis:
    """Implements `ports.Analysis` by requests to a remote."""

    def __init__(self, remote_triage: RemoteTriage) -> None:
        self._remote = remote_triage
        self._evaluated_usd = 0.0

    @property
    def spent(self) -> float:
        return self._remote.spent

    def stop(self) -> None:
        self._remote.stop()

    def foresee(
        self, drafts: Iterable[TicketDraft], plan: ClassifyPlan, *, routes: bool, ask: bool
    ) -> Iterator[Outcome[Foreseen]]:
        plan_params = wire_format.options_record(plan._replace(max_cost=None, deadline=None))
        steps = "classify,route" if routes else "classify"
        params = {"dry_run": True, "do": steps, **({"ask": True} if ask else {}), **plan_params}
        upload_plan = UploadPlan(params, _foreseen_in, ids.new_id(), plan.max_cost, plan.deadline)
        with _known_to_remote("/tickets/batch"):
            yield from Upload(self._remote.connection, upload_plan).send(drafts)

    def find_spikes(self, window: timedelta, baseline: timedelta) -> SpikeSearch:
        response = self._get("/spikes", {"window": window.total_seconds(), "baseline": baseline.total_seconds()})
        return self._remote.converted_to(SpikeSearch, response)

    def send_spikes(self, window: timedelta, baseline: timedelta) -> SpikeSending | None:
        body = {"window": window.total_seconds(), "baseline": baseline.total_seconds()}
        response = self._post("/spikes", body)
        if isinstance(response, dict) and response.get("destination") is None:
            return None
        return self._remote.converted_to(SpikeSending, response)

    def drift(self, window: timedelta, question: str = CATEGORY) -> list[Drift]:
        response = self._get("/drift", {"window": window.total_seconds()} | _about(question))
        return self._remote.converted_rows(partial(wire_format.named, Drift), response)

    def report(self, since: datetime) -> Report:
        return self._remote.converted(_report, self._get("/report", {"since": timestamp(since)}))

    def suspects(self, rows: Sequence[Labelled], question: str = CATEGORY) -> SuspectReport:
        body = _labelled_body(rows) | _about(question)
        return self._remote.converted_to(SuspectReport, self._post("/suspects", body))

    def discover(self, tickets: Iterable[TopicText] | None, asked: Discovery) -> Proposal:
        """Have the remote find the topics of these tickets, which it does not store, or of its own."""
        rows = None
        if tickets is not None:
            rows = [{"text": text[:TOPIC_CHARACTERS], "customer": customer} for text, customer in tickets]
        naming = ("name_with", "max_cost")  # which older servers do not know
        settings = {key: value for key, value in asked._asdict().items() if key not in naming or value is not None}
        body = settings | {"sources": list(asked.sources), "rows": rows}
        return self._remote.converted_to(Proposal, self._post("/discover", body))

    def learn(self, rows: Sequence[Labelled], tell: TellProgress, question: str | None = None) -> list[Lesson]:
        """Have the remote learn; it does not tell how far it is."""
        tell("on the remote", 0.0)
        body = _labelled_body(rows) | ({} if question is None else {"question": question})
        return self._learned(body, partial(_lessons, question or CATEGORY))

    def roll_back(self) -> TrainingReport:
        return self._learned({"rollback": True}, _training_report)

    def _learned(self, body: Mapping[str, Any], make: Callable[[Any], T]) -> T:
        """Have the remote learn, or take that back; pass on what it warns of, and return what it answers."""
        response = self._post("/learn", body)
        learned = self._remote.converted(make, response)
        self._remote.converted(self._remote.connection.pass_on_warnings, response)
        return learned

    def evaluate(
        self, rows: Sequence[Labelled], plan: ClassifyPlan, *, calibrate: bool, question: str = CATEGORY
    ) -> Evaluated:
        left = None if plan.max_cost is None else max(0.0, plan.max_cost - self._evaluated_usd)
        settings = {"classifier": plan.classifier, "workers": plan.workers, "max_wait": plan.max_wait, "max_cost": left}
        body = _labelled_body(rows) | settings | {"calibrate": calibrate} | _about(question)
        response = self._post("/eval", body)
        evaluated = self._remote.converted(_evaluated, response)
        self._evaluated_usd += evaluated.scored.cost_usd
        return evaluated

    def plan(self, new: NewConfiguration, written_since: str | None, *, ask: bool, max_cost: float | None) -> Plan:
        """Have the remote compare a new configuration with its own.

        Raises `UsageError` if it is to ask: the providers of a configuration that is sent would get the remote's keys.
        """
        if ask or max_cost is not None:
            raise UsageError("a plan over a remote asks nobody", hint="leave out --ask, or run it on that machine")
        texts = {
            key: None if name is None else _text_of(Path(name))
            for key, name in (("config", new.config), ("routes", new.routes))
        }
        try:
            response = self._post("/plan", texts | {"written_since": written_since})
        except ConfigError as error:  # it names the files of the request
            message = error.message.replace(" config.yaml:", f" {new.config}:")
            raise ConfigError(message.replace(" routes.yaml:", f" {new.routes}:"), hint=error.hint) from error
        return self._remote.converted(_plan, response)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a request that takes long, and is never repeated."""
        with _known_to_remote(path):
            return self._remote.connection.request("POST", path, body, timeout=LONG_TIMEOUT)

    def _get(self, path: str, params: Params) -> Any:
        with _known_to_remote(path):
            return self._remote.connection.get(path, params)[0]


# What an older server refuses by name, which for labels it does row by row.
LATER_FIELDS = {f".{LABEL_SOURCE}:": f"labels of topics ({LABEL_SOURCE})", "query.dry_run:": "dry runs of an upload"}


@contextmanager
def _known_to_remote(path: str) -> Iterator[None]:
    """Raise `UsageError` if an older server does not know a path, or a field of what was sent."""
    try:
        with known_to_remote(path):
            yield
    except UsageError as error:
        unknown = next((name for field, name in LATER_FIELDS.items() if field in error.message), None)
        if unknown is None:
            raise
        raise UsageError(f"{UNKNOWN_TO_REMOTE} {unknown}", hint=UPGRADE) from error


def _labelled_body(rows: Sequence[Labelled]) -> dict[str, Any]:
    return {"rows": [{"text": row.text, "label": row.category} | _label_source(row) for row in rows]}


def _label_source(row: Labelled) -> dict[str, str]:
    """Return what a request says of where a label comes from, which older remotes do not know."""
    return {LABEL_SOURCE: TOPIC_LABEL} if row.is_typical else {}


def _about(question: str) -> dict[str, str]:
    """Return what a request says of its question; an older remote knows the category alone."""
    return {} if question == CATEGORY else {"question": question}


def _lessons(question: str, wire_record: Any) -> list[Lesson]:
    further = wire_format.object_of(wire_record).get("questions") or {}
    return [
        Lesson(name, wire_format.named(LabelCounts, wire_format.object_of(each).get("counts")), _training_report(each))
        for name, each in ({question: wire_record} | wire_format.object_of(further)).items()
    ]


def _training_report(wire_record: Any) -> TrainingReport:
    return wire_format.named(TrainingReport, wire_format.object_of(wire_record).get("report"))


def _evaluated(wire_record: Any) -> Evaluated:
    errors: dict[str, Any] = {key: wire_format.object_of(wire_record).get(key) for key in ("stopped", "first_error")}
    evaluated = wire_format.named(Evaluated, {**wire_record, **dict.fromkeys(errors)})
    stopped, first_error = (error and wire_format.error_of(error) for error in errors.values())
    return evaluated._replace(stopped=stopped, first_error=first_error)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name a configuration") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no configuration: it is not UTF-8", hint="name another file") from error


def _plan(wire_record: Any) -> Plan:
    escalations = wire_format.object_of(wire_record).get("escalations") or {}
    if not isinstance(escalations, dict):
        raise wire_format.ProtocolError("no escalations")
    plan = wire_format.named(Plan, {**wire_record, "escalations": list(escalations.items())})
    return plan._replace(matrix=tuple((old, new, int(n)) for old, new, n in plan.matrix))


def _report(wire_record: Any) -> Report:
    """Return a report, in whose lists are records and groups."""
    group_lists = {**GROUP_LISTS, "volumes": (str(wire_format.object_of(wire_record).get("volume_key")),)}
    groups: dict[str, Any] = {
        name: tuple(stats_group(one, keys) for one in wire_format.rows_of(wire_record.get(name)))
        for name, keys in group_lists.items()
    }
    answers = {
        name: tuple(stats_group(one, (name,)) for one in wire_format.rows_of(rows))
        for name, rows in wire_format.object_of(wire_record.get("questions") or {}).items()
    }
    lists: dict[str, Any] = {name: [] for name in groups} | {"questions": {}}
    return wire_format.named(Report, {**wire_record, **lists})._replace(**groups, questions=answers)


def _foreseen_in(wire_outcome: wire_format.Record) -> Foreseen:
    """Return what is foreseen, from the wire record of an outcome. Raises `UsageError` if an older server is none."""
    preview = wire_outcome.get("preview")
    if isinstance(preview, dict) and "status" not in preview:
        raise UsageError("the remote is of an earlier version, which asks no classifier in a dry run", hint=UPGRADE)
    return wire_format.named(Foreseen, preview)
