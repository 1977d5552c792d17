"""The classifier that asks a language model, with limits on cost, time and retries."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from triage_cli import domain as dm
from triage_cli.classifiers import AskedClassifier
from triage_cli.config import ClassifierSpec
from triage_cli.extensions.llm import prompt
from triage_cli.extensions.llm.costs import BudgetReserver, ClaimCheck, Cost, charged_usage, likely_usage
from triage_cli.extensions.llm.interpretation import (
    PROBLEM_MEANINGS,
    Interpretation,
    ParsedAnswer,
    clean_reason,
    failed_interpretation,
    interpretation_of,
)
from triage_cli.extensions.llm.provider import ANSWER_TOKENS, LEAST_EFFORTS, THINKING_TOKENS, Provider, Reply, Usage
from triage_cli.extensions.llm.provider_errors import RejectedError
from triage_cli.runtime import (
    Budget,
    CircuitBreaker,
    Network,
    Retries,
    StoppingError,
    bridge,
    persist,
)

A = TypeVar("A")
B = TypeVar("B")
# Returns the nearest decided tickets, the nearest last.
FindNearest = Callable[[dm.Ticket], Sequence[dm.Ticket]]


class LLMClassifier(AskedClassifier):
    """Implements `ports.Classifier` with one provider; `workers` calls are in flight.

    It asks `questions`, by default that for the category alone: all about one ticket in one call.
    """

    def __init__(  # noqa: PLR0913 - wiring hands over what it knows, by name
        self,
        spec: ClassifierSpec,
        categories: Sequence[dm.Category],
        provider: Provider,
        endpoint: CircuitBreaker,
        network: Network,
        *,
        actor: str,
        run_id: str | None,
        questions: Sequence[dm.Question] = (),
        nearest: FindNearest | None = None,
    ) -> None:
        self.provider = provider  # which the fingerprints name
        super().__init__(spec, categories, questions, actor=actor, run_id=run_id)
        self._find_nearest = nearest if spec.nearest else None
        self._nearest: dict[str, Sequence[dm.Ticket]] = {}  # of tickets that are asked about now
        self.categories = tuple(categories)
        self._parts = {question.name: _part_of(question) for question in self._asked.values()}
        self.endpoint = endpoint
        self.network = network
        self.chunk_size = 2 * spec.workers
        self.thinks = spec.effort not in (None, *LEAST_EFFORTS)  # so that its answers need more tokens

    def _fingerprint_of(self, question: dm.Question) -> str:
        spec = self.spec
        # With the categories' first names, so that a rename does not change the fingerprint.
        with_first_names = [[c.root or c.name, c.description, *c.examples] for c in question.values]
        values_json, masked = json.dumps(with_first_names, ensure_ascii=False), sorted(spec.redact)
        fingerprinted = [spec.type, spec.model, self.provider.address, prompt.PROMPT_VERSION, values_json, masked]
        if question.labels.parents:
            fingerprinted.append("levels")
        if spec.instructions:
            fingerprinted.append(f"instructions: {spec.instructions}")
        if spec.effort:
            fingerprinted.append(f"effort: {spec.effort}")
        if spec.nearest and question.name == dm.CATEGORY:  # not which tickets: a new verdict has none asked again
            fingerprinted.append(f"nearest: {spec.nearest}")
        if question.name != dm.CATEGORY:  # what is asked beside it does not count
            fingerprinted += [question.name, question.ask]
        return hashlib.sha256(json.dumps(fingerprinted).encode()).hexdigest()

    def _asking(self, question: dm.Question) -> dm.Asking:
        prompt_options: dict[str, object] = {"prompt": prompt.PROMPT_VERSION, "redact": sorted(self.spec.redact)}
        if self._levels[question.name].parents:
            prompt_options["levels"] = True
        if self.spec.effort:
            prompt_options["effort"] = self.spec.effort
        instructions = self.spec.instructions
        return dm.Asking(
            fingerprint=self._fingerprints[question.name],
            kind=self.spec.type,
            model=self.spec.model or "",
            endpoint=self.provider.address,
            prompt=prompt.system_prompt([_part_of(question)], instructions),
            categories=self._values_json(question),
            options=json.dumps(prompt_options),
            first_at=dm.times.now(),
        )

    @property
    def parts(self) -> list[prompt.Part]:
        """Return all that it may be asked, as prompts have it."""
        return [*self._parts.values()]

    def question(self, ticket: dm.Ticket, limit: int = prompt.TICKET_LIMIT) -> tuple[prompt.Question, tuple[str, ...]]:
        """Return the question about a ticket, and the kinds of text that redaction masked in it."""
        subject, masked_kinds = dm.redact(ticket.subject or "", self.spec.redact)
        description, more_kinds = dm.redact(ticket.body or "", self.spec.redact)
        parts = [self._parts[name] for name in ticket.asked]
        question = prompt.questions(parts, subject, description, limit, self.spec.instructions)
        if self._find_nearest is not None and ticket.asked == (dm.CATEGORY,):
            near = self._nearest.get(ticket.ticket_id)
            shots = self._decided_examples(self._find_nearest(ticket) if near is None else near)
            question = question._replace(decided=shots)
        return question, tuple(dict.fromkeys(masked_kinds + more_kinds))

    def _decided_examples(self, decided: Iterable[dm.Ticket]) -> tuple[tuple[str, str], ...]:
        """Return decided tickets as worked examples, redacted as every text is."""
        masks = self.spec.redact
        texts = (
            (dm.redact(t.subject or "", masks)[0], dm.redact(t.body or "", masks)[0], t.category or "") for t in decided
        )
        return prompt.decided_examples(texts)

    def _with_nearest(self, chunks: Iterable[Sequence[dm.Ticket]], find: FindNearest) -> Iterator[Sequence[dm.Ticket]]:
        """Look up the nearest decided tickets in the caller's thread, since calls in flight wait for no database."""
        for chunk in chunks:
            self._nearest |= {t.ticket_id: find(t) for t in chunk if t.asked == (dm.CATEGORY,)}
            yield chunk

    def outcomes(
        self,
        ticket: dm.Ticket,
        question: prompt.Question,
        interpretation: Interpretation,
        cost: Cost,
        masked_kinds: tuple[str, ...],
    ) -> list[dm.Outcome[dm.Answer]]:
        """Return the outcomes of all that was asked in one call, answers to store or failures.

        The call's cost stands with the first.
        """
        first, *further = question.parts
        parsed, reply, _, more = interpretation
        outcomes = [self._outcome(ticket, question, first, (parsed, reply.chances), interpretation, cost, masked_kinds)]
        nothing = Cost(self.spec.price)
        for part in further:
            answered = more[part.name], reply.further.get(part.name, {})
            outcomes.append(self._outcome(ticket, question, part, answered, interpretation, nothing, masked_kinds))
        return outcomes

    def _outcome(
        self,
        ticket: dm.Ticket,
        question: prompt.Question,
        part: prompt.Part,
        answered: tuple[ParsedAnswer, Mapping[str, float]],
        interpretation: Interpretation,
        cost: Cost,
        masked_kinds: tuple[str, ...],
    ) -> dm.Outcome[dm.Answer]:
        spec, (parsed, chances) = self.spec, answered
        _, reply, detail, _ = interpretation
        chances = {label: share for label, share in chances.items() if label in part.labels}  # a server may name others
        confidence, confidence_source = None, None
        if parsed.label is not None:
            is_measured = parsed.label in chances or reply.source == "decision"
            confidence = chances.get(parsed.label, parsed.confidence)
            confidence_source = reply.source if is_measured else "said"
        category = None if parsed.label == part.none else parsed.label
        levels = self._levels[part.name]
        if levels.parents and chances and category is not None:
            own = {category: confidence or 0.0} | {name: share for name, share in chances.items() if name in levels}
            chances = levels.nested(own, category)
        is_other_model = reply.model and reply.model != spec.model
        near = self._nearest.get(ticket.ticket_id)
        step = self._answer(
            ticket,
            part.name,
            step=f"{spec.name} ({prompt.cut_text(reply.model or '', 80)})" if is_other_model else spec.name,
            category=category,
            confidence=confidence,
            confidence_source=confidence_source,
            reason=clean_reason(parsed.reason, question.system, question.user, [text for text, _ in question.decided]),
            probabilities=json.dumps(dict(chances), ensure_ascii=False) if chances else None,
            input_tokens=cost.usage.input,
            output_tokens=cost.usage.output,
            cache_read=cost.usage.cache_read,
            cache_write=cost.usage.cache_write,
            cost=cost.cost,
            redacted=json.dumps(masked_kinds) if masked_kinds else None,
            error=parsed.problem,
            nearest=json.dumps([t.ticket_id for t in near]) if near else None,
        )
        step = self._at_level(step)
        problem = parsed.problem
        error = dm.AnswerError(f"{problem}: {detail or PROBLEM_MEANINGS[problem]}") if problem else None
        answer = dm.Answer(ticket, (step,), step.is_sure, question=part.name)
        return dm.Outcome(0, dm.Action.FAILED if error else dm.Action.ANSWERED, answer, error, ticket)

    def answer_tokens(self, ticket: dm.Ticket) -> int:
        """Return how many tokens the answers to what is asked about a ticket may take, with the thought before them."""
        if self.spec.max_answer_tokens is not None:
            return self.spec.max_answer_tokens
        tokens = THINKING_TOKENS if self.thinks else ANSWER_TOKENS
        return tokens + prompt.FURTHER_ANSWER_TOKENS * (len(ticket.asked) - 1)

    def tokens_after_cut(self, answer_tokens: int, *, in_thought: bool) -> int:
        """Return how many tokens to allow after an answer that was cut: twice as many, or those of a model that thinks.

        There is a bound, since a model that has not ended by then goes round in circles.
        """
        if self.spec.max_answer_tokens is not None:
            return self.spec.max_answer_tokens
        return max(answer_tokens, THINKING_TOKENS if in_thought else min(2 * answer_tokens, THINKING_TOKENS))

    def worst_usage(self, question: prompt.Question, answer_tokens: int) -> Usage:
        """Return the most expensive usage of a request; its tokens may all be written to the provider's cache."""
        most = self.provider.most_tokens(question, answer_tokens)
        usages = Usage(most, answer_tokens), Usage(most, answer_tokens, cache_write=most)
        return max(usages, key=Cost(self.spec.price).price_of)

    def check_price(self, budget: Budget) -> None:
        """Raise `ConfigError` if there is a cost limit and the model's price is not known."""
        if budget.is_limited and self.spec.price is None:
            raise dm.ConfigError(
                f'what classifier "{self.name}" costs is not known, so a budget cannot bound it',
                hint=f"set classifiers.{self.name}.price, or leave out {dm.Step.MAX_COST} and budget",
            )

    def classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        """Yield the model's answers as they arrive. Raises `ConfigError` as `check_price` does."""
        self.check_price(budget)
        return self._classify(chunks, budget)

    def _classify(
        self, chunks: Iterable[Sequence[dm.Ticket]], budget: Budget
    ) -> Iterator[Sequence[dm.Outcome[dm.Answer]]]:
        question_run = _QuestionRun(self, budget)
        if self._find_nearest is not None:
            chunks = self._with_nearest(chunks, self._find_nearest)
        for answered in question_run.each(chunks, question_run.ask):
            outcomes = list(chain.from_iterable(answered))
            for outcome in outcomes:
                self._nearest.pop(outcome.ticket.ticket_id, None)
            yield [outcome._replace(row=row) for row, outcome in enumerate(outcomes)]

    def texts(
        self, questions: Sequence[prompt.Question], answer_tokens: int, budget: Budget
    ) -> list[tuple[prompt.Question, str]]:
        """Return what the model says to questions that are about no ticket; one that it does not answer is left out.

        Raises `TriageError` if the provider fails, and `ConfigError` as `check_price` does.
        """
        self.check_price(budget)
        run = _QuestionRun(self, budget)
        most_tokens = answer_tokens + (THINKING_TOKENS if self.thinks else 0)
        return list(chain.from_iterable(run.each([questions], lambda question: run.say(question, most_tokens))))


def _part_of(question: dm.Question) -> prompt.Part:
    return prompt.Part(question.name, question.values, prompt.labels_of(question.values), question.ask)


class _QuestionRun:
    """One call of `LLMClassifier.classify`; after the first fatal error, no further question begins."""

    def __init__(self, classifier: LLMClassifier, budget: Budget) -> None:
        self.fatal_error: Exception | None = None
        self._classifier = classifier
        self._spec = classifier.spec
        self._budget = budget
        self._rejected = 0
        self._rejections_to_end_run = max(10, self._spec.workers)
        self._reserver = BudgetReserver(budget, lambda: self.stopping)
        self._claim_check = ClaimCheck(budget)

    @property
    def stopping(self) -> bool:
        """Return whether no further question is to begin."""
        return self.fatal_error is not None or self._budget.stopping

    def each(self, chunks: Iterable[Sequence[A]], call: Callable[[A], Awaitable[B]]) -> Iterator[list[B]]:
        """Call for every item, and yield what is returned as it arrives. Raises the error that ended the run."""
        spec, provider = self._spec, self._classifier.provider

        async def guarded(item: A) -> B:
            if self.stopping:
                raise StoppingError
            try:
                return await call(item)
            except StoppingError:
                raise
            except Exception as error:
                self.fatal_error = self.fatal_error or error
                raise
            except asyncio.CancelledError:
                self.fatal_error = self.fatal_error or RuntimeError("a question was cancelled")
                raise

        provider.open(self._classifier.network)
        try:
            for pairs in bridge().map(chunks, guarded, workers=spec.workers, stopping=lambda: self.stopping, tick=1.0):
                yield [answer for _, answer in pairs if not isinstance(answer, Exception)]
        finally:
            # Without waiting, because a generator that was dropped may be closed in the loop's own thread.
            asyncio.run_coroutine_threadsafe(provider.close(), bridge().loop)
        if self.fatal_error is not None:
            raise self.fatal_error

    async def ask(self, ticket: dm.Ticket) -> list[dm.Outcome[dm.Answer]]:
        """Ask the model about one ticket."""
        return list(map(self._budget.answered, await self._ask_until_usable(ticket)))

    async def say(self, question: prompt.Question, answer_tokens: int) -> tuple[prompt.Question, str]:
        """Return a question that is about no ticket, with what the model says to it."""
        retries, cost = Retries(self._spec.max_retries), Cost(self._spec.price)
        reply = await self._reply("", question, answer_tokens, retries, cost)
        return question, "" if reply.problem else reply.said

    async def _ask_until_usable(self, ticket: dm.Ticket) -> list[dm.Outcome[dm.Answer]]:
        """Ask until the first answer is usable; one beside it that is not is no reason to ask again.

        What was usable the first time stays.
        """
        cost, retries = Cost(self._spec.price), Retries(self._spec.max_retries)
        limit, may_retry = prompt.TICKET_LIMIT, True
        answer_tokens = self._classifier.answer_tokens(ticket)
        outcomes: list[dm.Outcome[dm.Answer]] = []
        usable: list[dm.Outcome[dm.Answer]] = []
        paid_usage = Usage()
        while True:
            question, masked_kinds = self._classifier.question(ticket, limit)
            try:
                interpretation = await self._ask_provider(ticket, question, answer_tokens, retries, cost)
            except (dm.TriageError, StoppingError) as error:
                if not outcomes or paid_usage == Usage():
                    raise
                if isinstance(error, dm.TriageError):
                    self.fatal_error = self.fatal_error or error
                return outcomes  # the first answer is unusable, but was paid for
            outcomes = [*self._classifier.outcomes(ticket, question, interpretation, cost, masked_kinds), *usable]
            paid_usage = cost.usage
            problem = interpretation.parsed.problem
            if problem == "too_long" and (shorter := prompt.shorter_limit(limit, question)):
                limit = shorter  # nothing was paid, so this does not count as a retry
                continue
            may_retry = may_retry and problem in ("cut", "empty", "not_json", "unknown_label")
            if problem == "cut":
                more_tokens = self._after_cut(answer_tokens, interpretation.reply)
                may_retry = may_retry and more_tokens > answer_tokens
                answer_tokens = more_tokens
            if not may_retry or not retries.take():
                return outcomes
            may_retry = False
            usable = [outcome for outcome in outcomes if outcome.error is None]
            answered = {outcome.value.question for outcome in usable if outcome.value}
            ticket = ticket._replace(asked=tuple(name for name in ticket.asked if name not in answered))

    def _after_cut(self, answer_tokens: int, reply: Reply) -> int:
        """Return how many tokens to allow after a cut answer; a model that was cut in thought thinks later, too."""
        self._classifier.thinks = self._classifier.thinks or reply.is_cut_in_thought
        return self._classifier.tokens_after_cut(answer_tokens, in_thought=reply.is_cut_in_thought)

    async def _ask_provider(
        self, ticket: dm.Ticket, question: prompt.Question, answer_tokens: int, retries: Retries, cost: Cost
    ) -> Interpretation:
        """Ask the provider once, with retries of failed requests, and interpret its reply."""
        provider = self._classifier.provider
        try:
            reply = await self._reply(ticket.ticket_id, question, answer_tokens, retries, cost)
        except (dm.AnswerError, dm.TemporaryError) as error:
            self._rejected += isinstance(error, RejectedError)
            if isinstance(error, RejectedError) and self._rejected == self._rejections_to_end_run:
                hint = "not one ticket was accepted; check model and base_url; -v shows what the server says"
                raise dm.ConfigError(error.message, hint=hint) from None
            return failed_interpretation(error, question)
        self._rejected = -(10**9)  # after one accepted request, a rejection concerns only its ticket
        interpretation = interpretation_of(reply, question)
        if not reply.problem and interpretation.parsed.problem != "empty":
            provider.record_form(is_followed=interpretation.parsed.problem != "not_json")
        return interpretation

    async def _reply(
        self, ticket_id: str, question: prompt.Question, answer_tokens: int, retries: Retries, cost: Cost
    ) -> Reply:
        """Ask the provider once, with retries of failed requests; its money is set aside before and settled after."""
        provider, worst_usage = self._classifier.provider, self._classifier.worst_usage(question, answer_tokens)
        reservation = self._reserver.reservation(cost.price_of(worst_usage))
        try:
            reply = await persist(
                lambda: self._claim_check.call_if_held(ticket_id, lambda: provider.ask(question, answer_tokens)),
                self._classifier.endpoint,
                retries,
                timeout=self._spec.timeout,
                tokens=likely_usage(worst_usage).input + answer_tokens,
                stopping=lambda: self.stopping,
                ready=reservation.reserve,
                lost=lambda: reservation.settle(cost.add(worst_usage)),
            )
            reservation.settle(cost.add(charged_usage(reply, worst_usage)))
            return reply
        finally:
            reservation.settle(0.0)
