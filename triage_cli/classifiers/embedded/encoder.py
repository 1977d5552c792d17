"""A sentence encoder in ONNX, asked about texts of which the word vectors are unsure.

Its folder holds `model.onnx`, or `onnx/model.onnx`, and `tokenizer.json`, as models of sentence-transformers come.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np

from triage_cli.classifiers.embedded.fitted_model import Floats
from triage_cli.domain import ConfigError, encodable
from triage_cli.runtime import with_extra

ENCODER_HINT = "docs/howto/encoder.md says where to get one"
MAX_TOKENS = 256  # of a text that is encoded; more are cut off
_MAX_CHARACTERS = 2_000
ENCODED_TOGETHER = 16  # texts that the session reads at once


class Encoder:
    """Turns texts into vectors of length 1, offline. Opening it reads nothing but the files' names.

    Raises `ConfigError` where the folder holds no model, its packages are missing, or the files are no such model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model_files = [path for path in (folder / "model.onnx", folder / "onnx" / "model.onnx") if path.is_file()]
        if not model_files or not (folder / "tokenizer.json").is_file():
            raise ConfigError(
                f"{folder} holds no encoder: model.onnx and tokenizer.json are needed",
                hint=ENCODER_HINT,
            )
        self._model_file = model_files[0]
        self._vectors_by_text: dict[str, Floats] = {}  # what training asks again and again

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the encoder's file: a model that was fitted beside it is for no other."""
        with self._model_file.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()

    @cached_property
    def _tokenizer_and_session(self) -> tuple[Any, Any]:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ConfigError(f"an encoder needs the package {error.name}", hint=with_extra("encoder")) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a run has threads of its own
        options.log_severity_level = 3
        try:
            tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
            session = onnxruntime.InferenceSession(str(self._model_file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # both raise classes of their own, for damaged files
            message = f"the encoder in {self.folder} cannot be read: {_first_line(error)}"
            raise ConfigError(message, hint=ENCODER_HINT) from error
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding()
        return tokenizer, session

    def vectors(self, texts: Sequence[str], *, keep: bool = False) -> Floats:
        """Return the encoder's vectors (texts, dimensions). With `keep` it remembers them: training asks them again."""
        if not keep:
            return self._encoded_vectors(texts)
        new_texts = [text for text in dict.fromkeys(texts) if text not in self._vectors_by_text]
        if new_texts:
            self._vectors_by_text |= zip(new_texts, self._encoded_vectors(new_texts), strict=True)
        return np.array([self._vectors_by_text[text] for text in texts])

    def _encoded_vectors(self, texts: Sequence[str]) -> Floats:
        by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # less padding
        encoded = []
        for start in range(0, len(by_length), ENCODED_TOGETHER):
            rows_together = by_length[start : start + ENCODED_TOGETHER]
            encoded.append(self._encode([encodable(texts[row][:_MAX_CHARACTERS]) for row in rows_together]))
        text_vectors = np.empty((len(by_length), encoded[0].shape[1]), np.float32)
        text_vectors[by_length] = np.concatenate(encoded)
        text_vectors /= np.maximum(np.linalg.norm(text_vectors, axis=1, keepdims=True), np.float32(1e-6))
        return text_vectors

    def _encode(self, texts: Sequence[str]) -> Floats:
        """Return the means of the tokens' states, or what the encoder pools itself."""
        tokenizer, session = self._tokenizer_and_session
        tokens = tokenizer.encode_batch(texts)
        input_names = {each.name for each in session.get_inputs()}
        encoder_inputs = {
            "input_ids": np.array([each.ids for each in tokens], np.int64),
            "attention_mask": np.array([each.attention_mask for each in tokens], np.int64),
            "token_type_ids": np.array([each.type_ids for each in tokens], np.int64),
        }
        mask = encoder_inputs["attention_mask"][:, :, None]
        try:
            known_inputs = {name: array for name, array in encoder_inputs.items() if name in input_names}
            states = session.run(None, known_inputs)[0]
            vectors: Floats = (states * mask).sum(1) / np.maximum(mask.sum(1), 1) if states.ndim == 3 else states
        except Exception as error:  # onnxruntime raises classes of its own
            raise ConfigError(f"the encoder in {self.folder} is no encoder: {_first_line(error)}") from error
        return vectors


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
