"""Consultation on this machine: answers that decide nothing, and agents' suggestions, over its store."""

from triage_cli import domain as dm
from triage_cli.ports import Classifier
from triage_cli.runtime import Budget, StopControl
from triage_cli.service import category_renames
from triage_cli.service.answers import answers, costs, steps_within
from triage_cli.service.category_renames import CategoryNames
from triage_cli.service.decisions.recorder import held, suspicion_of
from triage_cli.service.explanation import route_preview
from triage_cli.service.runs import RunContext, recorded_run, with_request
from triage_cli.service.services import Services
from triage_cli.service.ticket_lookup import ticket_named


class LocalConsultation:
    """Implements `ports.Consultation`; one object per command or request. `command_line` is stored with its runs."""

    def __init__(self, services: Services, actor: str, command_line: str = "") -> None:
        self._services = services
        self._store = services.store
        self._actor = actor
        self._command_line = command_line
        self._names = {question.name: CategoryNames(question.values, question.name) for question in services.questions}
        self._stop = StopControl()
        self.spent = 0.0

    @property
    def paid(self) -> float:
        """Return what this request has cost, in USD."""
        return self.spent

    def stop(self) -> None:
        """Take no new work for this consultation."""
        self._stop.stop()

    def classify_text(self, question: dm.TextQuestion, plan: dm.ClassifyPlan) -> dm.TextAnswer:
        """Classify a text without storing it. Where that may cost money, a run is recorded, which holds no text."""
        ticket = dm.Ticket.of_text(question.description or "", ticket_id=dm.ids.new_id(), source="text")
        ticket = ticket._replace(subject=question.subject)
        if not ticket.text.strip():
            raise dm.UsageError("the text is empty", hint="give a subject or a description")
        if self._services.instant_classifier(plan) is not None:  # it asks no provider
            unrecorded = RunContext(
                self._store, dm.Run("", "classify_text", self._actor, "", dm.times.now()), self._stop
            )
            return self._answer_text(
                self._services.classifier(plan, self._actor, "", dm.CATEGORY), ticket, unrecorded.budget
            )
        served = self._services.served
        with recorded_run(
            self._store, "classify_text", self._actor, self._command_line, self._stop, served=served
        ) as recorder:
            context = recorder.context
            budget = context.open_budget(plan.max_cost, self._services.per_day)
            classifier = self._services.classifier(plan, self._actor, context.run.run_id, dm.CATEGORY)
            try:
                return self._answer_text(classifier, ticket, budget)
            finally:
                self.spent += budget.spent + budget.reserved

    def _answer_text(self, classifier: Classifier, ticket: dm.Ticket, budget: Budget) -> dm.TextAnswer:
        last: dm.Outcome[dm.Answer] | None = None
        for arrived in answers(classifier, [[ticket]], budget):
            last = arrived.final[-1] if arrived.final else last
        if last is None or last.error is not None or last.value is None:
            hint = "try again later, or name another classifier"
            raise (last and last.error) or dm.AnswerError(f'classifier "{classifier.name}" gave no answer', hint=hint)
        labels = dm.Levels.of(self._services.categories)
        steps = steps_within(last.value, labels)
        answer = steps[-1]
        doubts = suspicion_of(labels).found(ticket.text)
        is_sure = last.value.sure and not doubts and answer.category is not None
        return dm.TextAnswer(
            status="classified" if is_sure else "needs_review",
            category=answer.category if is_sure else None,
            suggestion=labels.below(answer) if is_sure else labels.guess(answer),
            confidence=answer.confidence,
            confidence_source=answer.confidence_source,
            threshold=answer.threshold,
            reason=held(doubts, answer.reason) if doubts and last.value.sure else answer.reason,
            classifier=answer.classifier,
            suspicious=doubts,
            cost_usd=costs(steps),
        )

    def preview_route(self, name: str, category: str | None = None) -> dm.RoutePreview:
        history = self._history(name)
        if category is not None:
            ticket = history.ticket._replace(category=self._matched(category), verdict=1, decision_id=None)
            history = history._replace(ticket=ticket)
        return route_preview(history, self._services.categories, self._services.routing_map)

    def category_profiles(self) -> list[dm.CategoryProfile]:
        category_profiles = []
        for category in self._services.categories:
            reach = dm.routing_rules.reach(self._services.routing_map.rules, category.name)
            thresholds = self._services.thresholds(category.name)
            category_profiles.append(dm.CategoryProfile.of(category, thresholds, reach.rules, covered=reach.covered))
        return category_profiles

    def suggest(self, draft: dm.AgentSuggestionDraft) -> dm.AgentSuggestion:
        """Record an agent's suggestion. The ticket is not written, so that no run at work on it is disturbed."""
        category, history = self._matched(draft.category, draft.question), self._history(draft.name)
        ticket = history.ticket
        if ticket.is_erased:
            raise dm.RowError(f"{dm.ids.short(ticket.ticket_id)}: {dm.ERASED[ticket.status]}", hint="leave it out")
        draft = draft._replace(note=dm.storable_or_none(draft.note))
        in_force = dm.suggestions_in_force(ticket, history.classifications)
        for earlier in in_force:
            if earlier[1:3] + earlier[5:] == (category, draft.agent, draft.note, draft.question):
                return earlier
        agents = {earlier.agent for earlier in in_force}
        if len(agents) >= dm.MOST_AGENTS and draft.agent not in agents:
            raise dm.RowError(
                f"{dm.ids.short(ticket.ticket_id)}: {dm.MOST_AGENTS} agents suggest something for it already",
                hint=f"suggest under one of their names, or let a person decide: {dm.Step.REVIEW}",
            )
        suggestion_answer = dm.suggested(ticket, draft, category, self._actor)
        # The note is not logged: it may repeat the customer's text.
        said = {"category": category}
        if draft.question != dm.CATEGORY:
            said = {"question": draft.question, "value": category}
        suggestion_data = said | {"agent": draft.agent, "decision": suggestion_answer.classification_id}
        event = dm.Event(
            action=dm.EventAction.SUGGESTED,
            ticket_id=ticket.ticket_id,
            run_id=None,
            actor=self._actor,
            at=suggestion_answer.at,
            data=with_request(suggestion_data),
        )
        self._store.save([dm.Change(event, adds=(suggestion_answer,))])
        return dm.suggestion_of(suggestion_answer)

    def _history(self, name: str) -> dm.History:
        history = self._store.history(ticket_named(self._store, name).ticket_id)
        current_names = category_renames.current_names(self._services.categories)
        return history._replace(ticket=category_renames.with_current_names(history.ticket, current_names))

    def _matched(self, text: str, question: str = dm.CATEGORY) -> str:
        """Return the category, or the value of another question, that a text names."""
        names = self._names.get(question)
        if names is None:
            further = ", ".join(each.name for each in self._services.further)
            hint = f"the questions are {further}" if further else "the configuration has none"
            raise dm.RowError(f'no question "{question}"', hint=hint)
        value = names.match(text)
        if value is None:
            raise names.unknown(text)
        return value
