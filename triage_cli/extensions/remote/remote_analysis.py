"""The analysis on another instance, over the connection of a `RemoteTriage`."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import httpx

from triage_cli import domain as dm
from triage_cli.extensions.remote.remote_triage import RemoteOperations, RemoteTriage
from triage_cli.extensions.remote.upload import Upload, UploadPlan
from triage_cli.ports import Analysis, TellProgress

LONG_TIMEOUT = httpx.Timeout(3600.0, connect=10.0)  # in seconds, of what compares or learns many tickets


class RemoteAnalysis(RemoteOperations):
    """Implements `ports.Analysis` on the connection of a `RemoteTriage`."""

    port = Analysis

    def __init__(self, remote_triage: RemoteTriage) -> None:
        self._remote = remote_triage
        self._evaluated_usd = 0.0

    @property
    def spent(self) -> float:
        return self._remote.spent

    def stop(self) -> None:
        self._remote.stop()

    def foresee(
        self, drafts: Iterable[dm.TicketDraft], plan: dm.ClassifyPlan, *, routes: bool, ask: bool
    ) -> Iterator[dm.Outcome[dm.Foreseen]]:
        plan_params = dm.to_wire(plan._replace(max_cost=None, deadline=None))
        steps = "classify,route" if routes else "classify"
        params = {"dry_run": True, "do": steps, **({"ask": True} if ask else {}), **plan_params}
        upload_plan = UploadPlan(params, dm.Outcome[dm.Foreseen], dm.ids.new_id(), plan.max_cost, plan.deadline)
        return Upload(self._remote.connection, upload_plan).send(drafts)

    def operation(self, name: str, *values: Any, **named: Any) -> Any:
        return self._remote.operation(name, *values, timeout=LONG_TIMEOUT, **named)

    def discover(self, tickets: Iterable[dm.TopicText] | None, asked: dm.Discovery) -> dm.Proposal:
        """Have the remote find the topics of these tickets, which it does not store, or of its own."""
        read = (
            None if tickets is None else [dm.TopicText(text[: dm.TOPIC_CHARACTERS], writer) for text, writer in tickets]
        )
        return cast("dm.Proposal", self.operation("discover", read, asked))

    def learn(self, rows: Sequence[dm.Labelled], tell: TellProgress, question: str | None = None) -> list[dm.Lesson]:
        """Have the remote learn; it does not tell how far it is."""
        tell("on the remote", 0.0)
        return cast("list[dm.Lesson]", self.operation("learn", rows, tell, question))

    def evaluate(
        self, rows: Sequence[dm.Labelled], plan: dm.ClassifyPlan, *, calibrate: bool, question: str = dm.CATEGORY
    ) -> dm.Evaluated:
        left = None if plan.max_cost is None else max(0.0, plan.max_cost - self._evaluated_usd)
        plan = plan._replace(max_cost=left)
        evaluated = cast("dm.Evaluated", self.operation("evaluate", rows, plan, calibrate=calibrate, question=question))
        self._evaluated_usd += evaluated.scored.cost_usd
        return evaluated

    def plan(
        self, new: dm.NewConfiguration, written_since: str | None, *, ask: bool, max_cost: float | None
    ) -> dm.Plan:
        """Have the remote compare a new configuration with its own.

        Raises `UsageError` if it is to ask: the providers of a configuration that is sent would get the remote's keys.
        """
        if ask or max_cost is not None:
            raise dm.UsageError(
                "a plan over a remote asks nobody", hint=f"leave out {dm.Step.ASK}, or run it on that machine"
            )
        texts = (None if name is None else _text_of(Path(name)) for name in (new.config, new.routes))
        try:
            return cast("dm.Plan", self.operation("plan_texts", *texts, written_since))
        except dm.ConfigError as error:  # it names the files of the request
            message = error.message.replace(" config.yaml:", f" {new.config}:")
            raise dm.ConfigError(message.replace(" routes.yaml:", f" {new.routes}:"), hint=error.hint) from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise dm.UsageError(f"cannot read {path}: {error.strerror}", hint="name a configuration") from error
    except UnicodeDecodeError as error:
        raise dm.UsageError(f"{path} is no configuration: it is not UTF-8", hint="name another file") from error
