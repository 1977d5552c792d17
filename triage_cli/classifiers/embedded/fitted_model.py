"""The fitted model of the embedded classifier, and its serialization."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.score_calibration import (
    DESCRIPTIONS_CALIBRATION,
    EARLIER_EXAMPLES_CALIBRATION,
    NEAR,
    Distance,
    ScoreCalibration,
)
from triage_cli.classifiers.examples import are_built_in, examples_of
from triage_cli.runtime import AGAIN

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

VECTORS_NAME = "minilm-words-256"  # the name of the word vectors, for the record
METHOD = "4"  # to be increased when the same categories and labels would give another fitted model
WORDING_METHOD = "5"  # the same for a model without labelled texts
DEFAULT_MODEL = Path(__file__).with_name("default_model.npz")


class Model(NamedTuple):
    """A fitted model: the weights of vectors and terms for each label, and what it was fitted to.

    `fingerprint` identifies categories and method, `learned` the labelled texts (empty: none). `vectors` (dimensions,
    labels) are the weights of the embedding, `terms` (terms, labels) those of each n-gram in `ngrams` and then each
    word in `whole_words`, of which it has the hashes (`word_number`), so that nothing of a text can be read; `rarity`
    is the inverse document frequency of each term. `seen` are the hashes (`text_number`) of the labelled texts,
    `taught` those of all words of the training texts, ascending; words that look like an address are in neither.
    `multilingual` is asked about texts that are not in English: its `vectors` are weights of the encoder's
    dimensions. `english` if it is asked about these alone, and not about all texts. `languages` are those that the
    encoder does not know and the labelled texts have taught. `method` is the `METHOD` that it was fitted by; only a
    model of the present one can answer. `copies` are the hashes (`copy_numbers`) by which copies of the labelled
    texts in another spelling are recognised, ascending; None in a model of an earlier release, and in one within
    another. `typical` are those of the texts with the label of a topic, None if there are none. `distance` says how
    much less a text is worth that is far from what a model without labelled texts was taught. `wording` are the
    categories that `multilingual` is yet to be fitted to (`fit.fitted_to_wording`), empty if that is done. `own` are
    the hashes (`read_number`) of the texts that it learned with a label that nobody gave to them, and `own_scores`
    (texts, labels) the scores by which it answers about these: those of models that have not learned them. `own` is
    None in a model of an earlier release, which repeats what it guessed. `fitted` are the strength, the share of the
    wording, and the part of the labelled texts with which it was fitted to these; None in an earlier release.
    """

    labels: tuple[str, ...]
    fingerprint: str
    learned: str
    vectors: Floats
    ngrams: NDArray[np.int32]
    whole_words: NDArray[np.uint32]
    rarity: Floats
    terms: Floats
    bias: Floats
    calibration: ScoreCalibration
    seen: NDArray[np.uint64]
    taught: NDArray[np.uint32]
    english: bool = True
    languages: tuple[str, ...] = ()
    multilingual: "Model | None" = None
    method: str = METHOD
    copies: NDArray[np.uint32] | None = None
    distance: Distance = NEAR
    wording: tuple[dm.Category, ...] = ()
    typical: NDArray[np.uint32] | None = None
    own: NDArray[np.uint64] | None = None
    own_scores: Floats | None = None
    fitted: NDArray[np.float64] | None = None

    @property
    def knows_descriptions_alone(self) -> bool:
        """Return whether it was fitted to names and descriptions, without examples and labelled texts."""
        return not self.learned and self.calibration == DESCRIPTIONS_CALIBRATION

    @property
    def is_of_earlier_examples(self) -> bool:
        """Return whether an earlier release has fitted it to examples, without labelled texts."""
        return not self.learned and self.calibration == EARLIER_EXAMPLES_CALIBRATION

    def to_bytes(self) -> bytes:
        """Return the model as the bytes of an `.npz` file; equal models give equal bytes."""
        npz_file = BytesIO()
        head = [
            self.labels,
            self.fingerprint,
            self.learned,
            (),  # earlier releases had the words here, readable
            self.method,
            self.languages,
            self.wording,
        ]
        added: dict[str, Any] = {"copies": self.copies, "typical": self.typical, "own": self.own}
        added |= {"own_scores": self.own_scores, "fitted": self.fitted}
        kept = {name: array for name, array in added.items() if array is not None}
        np.savez_compressed(
            npz_file,
            head=np.frombuffer(json.dumps(head).encode(), np.uint8),
            vectors=self.vectors, ngrams=self.ngrams, rarity=self.rarity, terms=self.terms, bias=self.bias,
            temperature=np.float64(self.calibration.temperature), curve=np.array(self.calibration[1:]),
            seen=self.seen, taught=self.taught, words=self.whole_words, distance=np.array(self.distance),
            english=np.bool_(self.english), multilingual=_nested_bytes(self.multilingual),
            **kept,
        )  # fmt: skip
        return npz_file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Model":
        """Read the bytes of `to_bytes` without executing anything in them. Raises `TriageError`."""
        try:
            with np.load(BytesIO(data), allow_pickle=False) as arrays:
                labels, fingerprint, learned, readable_words, *added = json.loads(arrays["head"].tobytes())
                method, languages, wording = added + ["2", (), ()][len(added) :]  # missing in older models
                return cls(
                    tuple(labels), fingerprint, learned, arrays["vectors"], arrays["ngrams" if added else "tokens"],
                    arrays["words"] if "words" in arrays else word_numbers(readable_words),
                    arrays["rarity"], arrays["terms"], arrays["bias"], _score_calibration(arrays), arrays["seen"],
                    arrays["taught"] if added else np.zeros(0, np.uint32),
                    bool(arrays["english"]) if "english" in arrays else not learned,
                    tuple(languages) if method == METHOD else (), _nested_model(arrays, "multilingual"), method,
                    arrays.get("copies"), Distance(*arrays["distance"].tolist()) if "distance" in arrays else NEAR,
                    tuple(dm.Category(name, description, tuple(examples), tuple(was), *other)
                          for name, description, examples, was, *other in wording),
                    arrays.get("typical"), arrays.get("own"), arrays.get("own_scores"),
                    arrays.get("fitted"),
                )  # fmt: skip
        except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
            raise dm.TriageError(f"the stored model cannot be read ({error})", hint="fit it again") from error


def default_model(categories: Sequence[dm.Category]) -> Model | None:
    """Return the model of the default categories, which `tools/make_default_model.py` made; None for other categories.

    Raises `TriageError` if its file is missing or damaged.
    """
    if not are_built_in(categories):
        return None
    try:
        model = Model.from_bytes(DEFAULT_MODEL.read_bytes())
    except (OSError, dm.TriageError) as error:
        raise dm.TriageError(f"the model of the default categories cannot be read: {error}", hint=AGAIN) from error
    return model if model.fingerprint == fingerprint(categories) else None


def _nested_bytes(model: Model | None) -> NDArray[np.uint8]:
    return np.frombuffer(model.to_bytes() if model else b"", np.uint8)


def _score_calibration(arrays: Mapping[str, NDArray[Any]]) -> ScoreCalibration:
    """Return the calibration of a stored model's scores; older models have no curve."""
    return ScoreCalibration(float(arrays["temperature"]), *(arrays["curve"].tolist() if "curve" in arrays else ()))


def _nested_model(arrays: Mapping[str, NDArray[Any]], name: str) -> Model | None:
    """Return the model that is stored within a model; older ones have none."""
    return Model.from_bytes(arrays[name].tobytes()) if name in arrays and len(arrays[name]) else None


def fingerprint(categories: Sequence[dm.Category]) -> str:
    """Return the hash of categories, examples and method, which identifies a model without labelled texts."""
    with_first_names = [c._replace(name=c.root or c.name) for c in categories]
    return sha256(f"local\0{WORDING_METHOD}\0{described_categories(with_first_names)}".encode()).hexdigest()


def described_categories(categories: Sequence[dm.Category]) -> str:
    """Return the categories that a model is fitted to, with their examples, as JSON."""
    with_examples = zip(categories, examples_of(categories), strict=True)
    return json.dumps([[c.name, c.description, list(examples)] for c, examples in with_examples], ensure_ascii=False)


def text_number(text: str) -> int:
    """Return a 64-bit hash of a text, by which a training text can be recognised but not read."""
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])


def word_number(word: str) -> int:
    """Return a 32-bit hash of a word, by which a taught word can be recognised but not read."""
    return crc32(word.encode("utf-8", "surrogatepass"))


def word_numbers(words: Sequence[str]) -> NDArray[np.uint32]:
    """Return the hashes of words, in their order."""
    return np.fromiter(map(word_number, words), np.uint32, len(words))


def copy_numbers(texts: Iterable[str]) -> NDArray[np.uint32]:
    """Return 32-bit hashes, ascending, by which copies of texts can be recognised and nothing can be read."""
    return np.array(sorted({key & 0xFFFFFFFF for text in texts for key in dm.copy_keys(text)}), np.uint32)


def knows_exactly(model: Model, texts: Sequence[str]) -> list[bool]:
    """Return for each text whether a model was trained on exactly this text."""
    seen_texts = set(model.seen.tolist())
    return [text_number(text) in seen_texts for text in texts]


def learned_by_topic(model: Model) -> Callable[[str], bool]:
    """Return what tells whether a model has learned a text, be it in another spelling, by the label of a topic."""
    return _copy_finder(model.typical)


def has_learned(model: Model, texts: Sequence[str]) -> list[bool]:
    """Return for each text whether a model was trained on it, be it in another spelling."""
    is_copy = _copy_finder(model.copies)
    return [is_known or is_copy(text) for text, is_known in zip(texts, knows_exactly(model, texts), strict=True)]


def _copy_finder(numbers: NDArray[np.uint32] | None) -> Callable[[str], bool]:
    """Return what tells whether a text is a copy of one of those that have these `copy_numbers`."""
    known = set() if numbers is None else set(numbers.tolist())
    return lambda text: bool(known) and any(key & 0xFFFFFFFF in known for key in dm.keys_of_originals(text))


def lacks_copies(model: Model) -> bool:
    """Return whether an earlier release has fitted a model, which kept the exact spelling of what it learned alone."""
    return model.copies is None and len(model.seen) > 0


def suited_model(model: Model, categories: Sequence[dm.Category]) -> Model | None:
    """Return a trained model with the present names of the categories; None if it cannot answer for them."""
    if model.method != METHOD:
        return None
    former_names = {name: category.name for category in categories for name in (category.root, *category.was)}
    present_names = former_names | {category.name: category.name for category in categories}
    labels = tuple(present_names.get(label, "") for label in model.labels)
    if sorted(labels) != sorted(category.name for category in categories):
        return None
    return model._replace(labels=labels, fingerprint=fingerprint(categories))
