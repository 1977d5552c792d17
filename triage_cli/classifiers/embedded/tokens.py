"""Splitting texts into words and tokens, and the vectors of the tokens."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from triage_cli.domain.errors import TriageError
from triage_cli.domain.serialization import encodable
from triage_cli.runtime.installation import AGAIN

MAX_CHARACTERS = 4_000  # of a text that are read, so that a megabyte costs no more than a long mail
MAX_WORDS = 512
MAX_WORD = 64
MAX_TOKENS = 32  # of one word
AROUND = ".,;:!?()[]{}<>\"'*-_/"

# Words that say nothing about a label, and that no reason names.
_COMMON = """
about after again also although always and any anyone are ask back because been before being but came can cannot
come could dear did does doing done down each even ever every everything for from get gets getting give got had
has have having hello her here him his how into its just kind know last let like made make many may more most
much must need needs never not now off once one only other our out over own please put regards said same say see
send sent she should since some still such sure take tell than thank thanks that the their them then there these
they thing this those though through today too two under until upon use used using very via want wanted wants
was way week well went were what when where which while who why will wish with without would yesterday yet you
your yours
"""
_SILENT = frozenset(_COMMON.split())


@cache
def vocabulary() -> tuple[Tokenizer, NDArray[np.float16]]:
    """Return the tokenizer and the token vectors (tokens, 256), from the files of the package wordllama.

    The package itself is not imported, because it would import an HTTP client and may download files.
    """
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise TriageError("the package wordllama is missing", hint=AGAIN)
    folder = Path(spec.origin).parent
    weights = folder / "weights" / "l2_supercat_256.safetensors"
    tokenizer_file = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
    if not (weights.is_file() and tokenizer_file.is_file()):
        raise TriageError(f"wordllama's files are not in {folder}", hint=AGAIN)
    return Tokenizer.from_file(str(tokenizer_file)), load_file(weights)["embedding.weight"]


def words_of(text: str) -> tuple[list[str], list[int] | None]:
    """Return the distinct words of a text in order, and their counts (None: each occurs once).

    Length and number of words are bounded; a text without letters has no words.
    """
    text = text[:MAX_CHARACTERS]
    if not any(map(str.isalpha, text)):
        return [], None
    tokens = text.lower().split()
    found = Counter(tokens)
    distinct = list(found)
    counts = None if len(distinct) == len(tokens) else list(found.values())
    if len(distinct) > MAX_WORDS:
        del distinct[MAX_WORDS:]
        counts = counts[:MAX_WORDS] if counts else None
    return distinct, counts


def bare(word: str) -> str:
    """Return a word without the punctuation around it."""
    return word.strip(AROUND)


def tokens_of(distinct: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the concatenated tokens of all words, and the index at which those of each word start.

    Each word has at least one token.
    """
    # The tokenizer refuses lone surrogates.
    cut = [encodable(word[:MAX_WORD]) for word in distinct]
    encodings = vocabulary()[0].encode_batch_fast(cut, add_special_tokens=False)
    lists = [encoding.ids[:MAX_TOKENS] or [0] for encoding in encodings]
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    return np.fromiter(chain.from_iterable(lists), np.int64), np.cumsum(lengths) - lengths


def showable(word: str) -> str:
    """Return a word as a reason may show it; empty for common words, and for what may be a number or an address."""
    shown = bare(word)
    return shown if 3 <= len(shown) <= 24 and shown.isalpha() and shown not in _SILENT else ""
