"""The embedded classifier: static word vectors and a small linear model, answered offline with numpy alone.

A text is its distinct lower-case words. Each word's share in every label's score is worked out once, when the word is
first met, and kept in a table: answering is then looking up and adding up. Fitting is in `training`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from hashlib import sha256
from io import BytesIO
from itertools import chain, repeat
from operator import itemgetter
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from triage_cli.allowance import Allowance
from triage_cli.classifiers.examples import examples_of
from triage_cli.classifiers.language import foreign, leaning
from triage_cli.classifiers.words import MAX_CHARACTERS, MAX_WORDS, bare, showable, tokens_of, vocabulary, words_of
from triage_cli.errors import TriageError
from triage_cli.models import Answer, Asking, Category, Classification, Outcome, Ticket
from triage_cli.suspicion import Suspicion

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

METHOD = "2"  # grows when the same categories would give another model
LENGTH_DIMENSIONS = 64  # the vectors were trained to be cut off anywhere: these suffice to measure a text's length
SHORTENED = 0.55  # what these hold of the whole length
SLICE = 64  # tickets looked up together: bounds memory whatever a chunk holds
TABLE_BYTES = 64 << 20
TOLD = 10  # labels whose probability is kept


class Model(NamedTuple):
    """The fitted weights: arrays, the labels they are for, and what they were fitted to.

    `fingerprint` names categories and method, `learned` the labelled texts beside them (empty: none). `vectors` weighs
    the embedding, `terms` each token in `tokens` and then each word in `words`; `rarity` is their inverse document
    frequency. `seen` are the numbers (`text_number`) of the labelled texts, ascending. `english` tells that they, too,
    were hardly ever of another language, so that it reads no other.
    """

    labels: tuple[str, ...]
    fingerprint: str
    learned: str
    vectors: Floats
    tokens: NDArray[np.int32]
    words: tuple[str, ...]
    rarity: Floats
    terms: Floats
    bias: Floats
    temperature: float
    seen: NDArray[np.uint64]
    english: bool = True

    def to_bytes(self) -> bytes:
        """Return the model as the bytes of an `.npz`; equal models give equal bytes."""
        buffer = BytesIO()
        head = [self.labels, self.fingerprint, self.learned, self.words]
        np.savez_compressed(
            buffer,
            head=np.frombuffer(json.dumps(head).encode(), np.uint8),
            vectors=self.vectors, tokens=self.tokens, rarity=self.rarity, terms=self.terms, bias=self.bias,
            temperature=np.float64(self.temperature), seen=self.seen, english=np.bool_(self.english),
        )  # fmt: skip
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Model":
        """Read what `to_bytes` wrote; nothing in it is ever executed."""
        try:
            with np.load(BytesIO(data), allow_pickle=False) as arrays:
                labels, fingerprint, learned, words = json.loads(arrays["head"].tobytes())
                return cls(
                    tuple(labels), fingerprint, learned, arrays["vectors"], arrays["tokens"], tuple(words),
                    arrays["rarity"], arrays["terms"], arrays["bias"], float(arrays["temperature"]), arrays["seen"],
                    bool(arrays["english"]) if "english" in arrays else not learned,  # older ones do not tell
                )  # fmt: skip
        except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
            raise TriageError(f"the stored model cannot be read ({error})", hint="fit it again") from error


def fingerprint(categories: Sequence[Category]) -> str:
    """Return what names a model before it is fitted: the categories with their examples, and the method."""
    first_known = [c._replace(name=c.root or c.name) for c in categories]
    return sha256(f"local\0{METHOD}\0{described(first_known)}".encode()).hexdigest()


def described(categories: Sequence[Category]) -> str:
    """Return the categories as this classifier reads them, as JSON."""
    pairs = zip(categories, examples_of(categories), strict=True)
    return json.dumps([[c.name, c.description, list(examples)] for c, examples in pairs], ensure_ascii=False)


def text_number(text: str) -> int:
    """Return 64 bits that stand for a text: what was learned can be recognised, not read."""
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])


def has_learned(model: Model, texts: Sequence[str]) -> list[bool]:
    """Tell of texts whether a model has learned them."""
    known = set(model.seen.tolist())
    return [text_number(text) in known for text in texts]


_EMPHASIS = np.log(np.maximum(np.arange(MAX_CHARACTERS), 1)).astype(np.float32) + 1


def emphasis(number: int, counts: Sequence[int] | None) -> Floats:
    """Return how much each of a text's words counts: a word said again and again, by the logarithm of how often."""
    return np.ones(number, np.float32) if counts is None else _EMPHASIS[counts]


def suited(model: Model, categories: Sequence[Category]) -> Model | None:
    """Return a learned model under the categories' present names; None where it is for others."""
    former = {name: category.name for category in categories for name in (category.root, *category.was)}
    present = former | {category.name: category.name for category in categories}
    labels = tuple(present.get(label, "") for label in model.labels)
    if sorted(labels) != sorted(category.name for category in categories):
        return None
    return model._replace(labels=labels, fingerprint=fingerprint(categories))


class _Numbers(dict[str, int]):
    """Numbers words in the order they are met; `new` are those met since it was last emptied."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        self.new.append(word)
        self[word] = number = len(self)
        return number


class Judged(NamedTuple):
    """What was found of some texts: the labels' probabilities, the words that spoke most for the best, and more.

    `foreign` tells which seem to be of a language that the model does not read, `doubtful` which a suspicion may find
    something in.
    """

    chances: Floats
    spoke: list[list[str]]
    foreign: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]


class WordTable:
    """What each word met so far adds to a text: a cut-off vector, shares in every label's scores, its rarity.

    Beside these it keeps how a word leans to English, and its traces of what a suspicion looks for.
    """

    def __init__(self, model: Model, suspicion: Suspicion | None = None) -> None:
        self.model = model
        self.suspicion = suspicion or Suspicion(())
        self.wanted = np.array(self.suspicion.wanted, np.int64)
        self.guarded = model.english and len(model.labels) > 1
        k = len(model.labels)
        self.by_vector = slice(LENGTH_DIMENSIONS, LENGTH_DIMENSIONS + k)
        self.by_term = slice(LENGTH_DIMENSIONS + k, LENGTH_DIMENSIONS + 2 * k)
        width = LENGTH_DIMENSIONS + 2 * k + 1
        # Never filled at once: the system gives memory only to pages that are written.
        self.room = max(TABLE_BYTES // (4 * width), SLICE * MAX_WORDS)
        self.rows = np.empty((self.room, width), np.float32)
        self.sayable = np.empty(self.room, np.bool_)
        self.leans = np.empty(self.room, np.int8)
        self.traces = np.empty(self.room, np.int64)
        self.shown: list[str] = []
        self.numbers = _Numbers()
        tokenizer, self.embedding = vocabulary()
        self.place = np.zeros(tokenizer.get_vocab_size(), np.int64)  # row 0 is for all tokens never seen in fitting
        self.place[model.tokens] = np.arange(1, len(model.tokens) + 1)
        self.rarity = np.concatenate([[0], model.rarity]).astype(np.float32)
        self.terms = np.concatenate([np.zeros((1, k)), model.terms * model.rarity[:, None]]).astype(np.float32)
        self.whole = {word: number for number, word in enumerate(model.words, start=len(model.tokens) + 1)}

    def look_up(self, texts: Sequence[Sequence[str]]) -> Integers:
        """Return the row numbers of all words in a row, working out those that are new."""
        if len(self.numbers) + SLICE * MAX_WORDS > self.room:
            self.numbers.clear()
            self.shown.clear()
        number = self.numbers.__getitem__
        found = np.fromiter(map(number, chain.from_iterable(texts)), np.int64)
        new = self.numbers.new
        for start in range(0, len(new), 1024):  # bounds the vectors held at once
            self._add(new[start : start + 1024])
        new.clear()
        return found

    def _add(self, words: Sequence[str]) -> None:
        tokens, starts = tokens_of(words)
        vectors = np.add.reduceat(self.embedding[tokens].astype(np.float32), starts)
        place = self.place[tokens]
        span = slice(len(self.shown), len(self.shown) + len(words))
        rows = self.rows[span]
        rows[:, :LENGTH_DIMENSIONS] = vectors[:, :LENGTH_DIMENSIONS]
        rows[:, self.by_vector] = vectors @ self.model.vectors
        whole = [self.whole.get(bare(word), 0) for word in words]
        rows[:, self.by_term] = np.add.reduceat(self.terms[place], starts) + self.terms[whole]
        rows[:, -1] = np.add.reduceat(self.rarity[place] ** 2, starts) + self.rarity[whole] ** 2
        shown = [showable(word) for word in words]
        self.sayable[span] = [bool(word) for word in shown]
        self.leans[span] = [leaning(word) for word in words] if self.guarded else 0
        self.traces[span] = self.suspicion.traces(words)
        self.shown += shown

    def judge(self, texts: Sequence[tuple[list[str], list[int] | None]]) -> Judged:
        """Return what is found of each text, of which none is empty."""
        numbers = self.look_up([words for words, _ in texts])
        counts = np.array([len(words) for words, _ in texts])
        starts = np.cumsum(counts) - counts
        rows = self.rows[numbers]
        often = chain.from_iterable(repeated or repeat(1, len(words)) for words, repeated in texts)
        weight = _EMPHASIS[np.fromiter(often, np.int64, len(rows))]
        rows *= weight[:, None]
        rows[:, -1] *= weight
        sums = np.add.reduceat(rows, starts)
        per_vector, per_term = scales(sums[:, :LENGTH_DIMENSIONS], sums[:, -1])
        scores = sums[:, self.by_vector] * per_vector[:, None] + sums[:, self.by_term] * per_term[:, None]
        chances = softmax((scores + self.model.bias).astype(np.float32), self.model.temperature)
        best, runner_up = leaders(chances)
        text = np.repeat(np.arange(len(texts)), counts)
        word = np.arange(len(numbers))

        def lead(part: Floats) -> Floats:
            return part[word, best[text]] - part[word, runner_up[text]]

        pull = lead(rows[:, self.by_vector]) * per_vector[text] + lead(rows[:, self.by_term]) * per_term[text]
        pull[~self.sayable[numbers]] = 0
        apart = 2 * np.abs(pull).max() + 1  # text by text, and in each the strongest first
        order = np.argsort(text * np.float64(apart) - pull, kind="stable")
        ranked = np.where(pull[order] > 0, numbers[order], -1).tolist()
        spoke = [
            list(dict.fromkeys(self.shown[n] for n in ranked[start : start + min(count, 4)] if n >= 0))[:3]
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]
        leans = np.add.reduceat(self.leans[numbers], starts, dtype=np.int64)
        traces = np.bitwise_or.reduceat(self.traces[numbers], starts)[:, None]
        return Judged(chances, spoke, foreign(leans, counts), ((traces & self.wanted) == self.wanted).any(axis=1))


def scales(vectors: Floats, rarities: Floats) -> tuple[Floats, Floats]:
    """Return by what to multiply a text's summed vector and terms, so that its length does not count."""
    length = np.sqrt(np.square(vectors).sum(axis=1))
    weight = np.sqrt(rarities)
    return (
        (SHORTENED / np.maximum(length, np.float32(1e-6))).astype(np.float32),
        np.where(weight > 0, 1 / np.maximum(weight, np.float32(1e-6)), 0).astype(np.float32),
    )


def softmax(scores: Floats, temperature: float) -> Floats:
    """Return scores as probabilities, row by row; a higher temperature makes them more alike."""
    raised: Floats = np.exp((scores - scores.max(axis=1, keepdims=True)) / np.float32(temperature))
    raised /= raised.sum(axis=1, keepdims=True)
    return raised


def leaders(chances: Floats) -> tuple[Integers, Integers]:
    """Return the best and the second-best label of each row; both the same where there is only one."""
    best = chances.argmax(axis=1)
    if chances.shape[1] == 1:
        return best, best
    others = chances.copy()
    others[np.arange(len(best)), best] = -1
    return best, others.argmax(axis=1)


def guesses(model: Model, texts: Sequence[str]) -> list[tuple[str | None, float | None]]:
    """Return each text's likeliest label and its probability; none for a text without words.

    Where the text seems to be of a language that the model does not read, there is no probability.
    """
    table = WordTable(model)
    found: list[tuple[str | None, float | None]] = [(None, None)] * len(texts)
    for start in range(0, len(texts), SLICE):
        words = {
            row: words for row in range(start, min(start + SLICE, len(texts))) if (words := words_of(texts[row]))[0]
        }
        if words:
            judged = table.judge(list(words.values()))
            for row, chances, unread in zip(words, judged.chances, judged.foreign, strict=True):
                found[row] = model.labels[chances.argmax()], None if unread else float(chances.max())
    return found


class _Guess(NamedTuple):
    label: str | None
    confidence: float | None
    reason: str
    probabilities: str | None
    doubtful: bool


_SPEECHLESS = _Guess(None, None, "no words to go by", None, doubtful=True)


class LocalClassifier:
    """Answers from a fitted model, without a network; every answer is the best guess, sure or not."""

    appetite = 512

    def __init__(  # noqa: PLR0913 - wiring hands over what it knows, by name
        self, name: str, model: Model, categories_fingerprint: str, min_confidence: float, *, actor: str,
        run_id: str | None, categories: Sequence[Category], clock: Callable[[], str], new_id: Callable[[], str],
        version: str = "",
    ) -> None:  # fmt: skip
        if not model.fingerprint == categories_fingerprint == fingerprint(categories):
            raise TriageError("the fitted model is for other categories", hint="fit it again")
        self.name = name
        # What was learned stays what it is under other names and descriptions of the same categories.
        named = model.learned or model.fingerprint
        self.fingerprint = sha256(f"{METHOD}\0{named}".encode()).hexdigest()
        self._model = model
        self._categories = categories
        self._min_confidence = min_confidence
        self._actor = actor
        self._run_id = run_id
        self._clock = clock
        self._new_id = new_id
        self._version = version
        self._suspicion = Suspicion(model.labels)
        self._table = WordTable(model, self._suspicion)
        self._keys = [json.dumps(label, ensure_ascii=False) + ":" for label in model.labels]
        self._plain = ["".join(c if c.isprintable() else " " for c in label) for label in model.labels]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return all it asks by: one."""
        return (self.fingerprint,)

    def askings(self) -> tuple[Asking, ...]:
        """Describe what is asked, for the record."""
        return (self.asking(),)

    def asking(self) -> Asking:
        """Describe what is asked."""
        options = {"method": METHOD, "learned": self._model.learned or None, "temperature": self._model.temperature}
        model = f"l2_supercat_256, {self._version}" if self._version else "l2_supercat_256"
        return Asking(self.fingerprint, "local", model, "", "", described(self._categories),
                      json.dumps(options), self._clock())  # fmt: skip

    def classify(self, chunks: Iterable[Sequence[Ticket]], allowance: Allowance) -> Iterator[Sequence[Outcome[Answer]]]:
        """Answer each chunk while the one before it is saved, or at once where an empty one follows; it costs nothing.

        The next chunk is taken when nothing is being answered: SQLite hands over rows one by one, and a thread at work
        would make it wait at each.
        """
        del allowance
        with ThreadPoolExecutor(1, "answering") as thread:
            answering: Future[Sequence[Outcome[Answer]]] | None = None
            for chunk in chunks:
                done = answering.result() if answering else ()
                answering = thread.submit(self._answers, chunk) if chunk else None
                yield done
                wait([answering] if answering else ())
            if answering:
                yield answering.result()

    def _answers(self, chunk: Sequence[Ticket]) -> Sequence[Outcome[Answer]]:
        done: list[Outcome[Answer]] = []
        for start in range(0, len(chunk), SLICE):
            self._answer(chunk[start : start + SLICE], done)
        return done

    def _answer(self, tickets: Sequence[Ticket], done: list[Outcome[Answer]]) -> None:
        texts = [ticket.text for ticket in tickets]
        judged = self._judge(texts)
        at, key = self._clock(), self.fingerprint.encode() + b"\0"
        for ticket, text, (label, confidence, reason, told, doubtful) in zip(tickets, texts, judged, strict=True):
            answer_key = sha256(key + text.encode("utf-8", "surrogatepass")).hexdigest()
            answer = Classification(
                self._new_id(), ticket.ticket_id, self._run_id, self.name, label, confidence, "model", reason,
                self.name, self._actor, self.fingerprint, self._min_confidence, told, answer_key, at,
            )  # fmt: skip
            sure = label is not None and confidence is not None and confidence >= self._min_confidence
            # Here, since the thread that saves has more to do.
            doubts = self._suspicion.found(text) if sure and doubtful else ()
            done.append(Outcome(len(done), "answered", Answer(ticket, (answer,), sure, doubts), None, ticket))

    def _judge(self, texts: Sequence[str]) -> list[_Guess]:
        guesses = [_SPEECHLESS] * len(texts)
        words = {row: found for row, text in enumerate(texts) if (found := words_of(text))[0]}
        if words:
            judged = self._table.judge(list(words.values()))
            columns = zip(
                words, judged.chances.tolist(), *map(list, leaders(judged.chances)), judged.spoke,
                judged.foreign.tolist(), judged.doubtful.tolist(), strict=True,
            )  # fmt: skip
            for row, chances, best, next_, because, unread, doubtful in columns:
                if unread:
                    guesses[row] = _Guess(self._model.labels[best], None, self._unread(next_), None, doubtful=True)
                    continue
                text = texts[row]
                guesses[row] = _Guess(
                    self._model.labels[best], round(chances[best], 4), self._reason(because, next_, chances[next_]),
                    self._told(chances),
                    # Of a text that is cut not all words are known, and what hides in one that is not ASCII is no word.
                    doubtful or not text.isascii() or len(text) > MAX_CHARACTERS or len(words[row][0]) == MAX_WORDS,
                )  # fmt: skip
        return guesses

    def _reason(self, because: Sequence[str], runner_up: int, chance: float) -> str:
        if len(self._plain) == 1:
            return "the only category"
        return f"{', '.join(because) or 'no single word'}; next: {self._plain[runner_up]} {chance:.2f}"

    def _unread(self, runner_up: int) -> str:
        return f"seems not to be English, the only language this model reads; next: {self._plain[runner_up]}"

    def _told(self, probabilities: Sequence[float]) -> str:
        pairs: Iterable[tuple[str, float]] = zip(self._keys, probabilities, strict=True)
        if len(self._keys) > TOLD:
            pairs = sorted(pairs, key=itemgetter(1), reverse=True)[:TOLD]
        return "{" + ",".join([f"{key}{chance:.3f}" for key, chance in pairs]) + "}"
