"""A sentence encoder of a few words, in the files that a real one has: words of a group have the same vector."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

UNKNOWN = "[UNK]"
INT64, FLOAT = 7, 1  # of ONNX


def write(folder: Path, groups: dict[str, int], dimensions: int = 8) -> Path:
    """Write model.onnx and tokenizer.json: each word's vector is the axis of its group; other words are zero."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {"[PAD]": 0, UNKNOWN: 1} | {word: n for n, word in enumerate(groups, start=2)}
    vectors = np.zeros((len(vocabulary), dimensions), np.float32)
    for word, group in groups.items():
        vectors[vocabulary[word], group] = 1
    tokenizer = Tokenizer(models.WordLevel(vocabulary, UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.onnx").write_bytes(_model(vectors))
    return folder


def _model(vectors: np.ndarray) -> bytes:
    """Return an ONNX model that gathers the rows of a table: protobuf by hand, by the numbers of onnx.proto."""
    table = b"".join(_field(1, size) for size in vectors.shape)
    table += _field(2, FLOAT) + _field(8, b"table") + _field(9, vectors.tobytes())
    node = _field(1, b"table") + _field(1, b"input_ids") + _field(2, b"last_hidden_state") + _field(4, b"Gather")
    graph = _field(1, node) + _field(2, b"tiny") + _field(5, table)
    graph += _field(11, _value(b"input_ids", INT64, 2)) + _field(12, _value(b"last_hidden_state", FLOAT, 3))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 13))


def _value(name: bytes, kind: int, axes: int) -> bytes:
    shape = b"".join(_field(1, _field(2, b"axis%d" % n)) for n in range(axes))
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))
