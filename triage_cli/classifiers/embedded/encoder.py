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
from triage_cli.domain.errors import ConfigError
from triage_cli.domain.json_values import encodable
from triage_cli.runtime.installation import with_extra

WHERE = "docs/howto/encoder.md says where to get one"
MAX_TOKENS = 256  # of a text; more are cut off
MAX_CHARACTERS = 2_000
BATCH = 16


class Encoder:
    """Turns texts into vectors of length 1, offline. Opening it reads nothing but the files' names.

    Raises `ConfigError` where the folder holds no model, its packages are missing, or the files are no such model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = [path for path in (folder / "model.onnx", folder / "onnx" / "model.onnx") if path.is_file()]
        if not found or not (folder / "tokenizer.json").is_file():
            raise ConfigError(
                f"{folder} holds no encoder: model.onnx and tokenizer.json are needed",
                hint=WHERE,
            )
        self._file = found[0]
        self._known: dict[str, Floats] = {}  # what training asks again and again

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the model's file: a model that was fitted beside it is for no other."""
        with self._file.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()

    @cached_property
    def _opened(self) -> tuple[Any, Any]:
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
            session = onnxruntime.InferenceSession(str(self._file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # both raise classes of their own, for damaged files
            problem = f"the encoder in {self.folder} cannot be read: {_first_line(error)}"
            raise ConfigError(problem, hint=WHERE) from error
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding()
        return tokenizer, session

    def vectors(self, texts: Sequence[str], *, keep: bool = False) -> Floats:
        """Return the vectors (texts, dimensions). With `keep` they are remembered: training asks the same again."""
        if not keep:
            return self._encoded(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, self._encoded(new), strict=True)
        return np.array([self._known[text] for text in texts])

    def _encoded(self, texts: Sequence[str]) -> Floats:
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # less padding
        parts = [
            self._run([encodable(texts[row][:MAX_CHARACTERS]) for row in order[start : start + BATCH]])
            for start in range(0, len(order), BATCH)
        ]
        result = np.empty((len(order), parts[0].shape[1]), np.float32)
        result[order] = np.concatenate(parts)
        result /= np.maximum(np.linalg.norm(result, axis=1, keepdims=True), np.float32(1e-6))
        return result

    def _run(self, texts: Sequence[str]) -> Floats:
        """Return the means of the tokens' states, or what the model pools itself."""
        tokenizer, session = self._opened
        tokens = tokenizer.encode_batch(texts)
        names = {each.name for each in session.get_inputs()}
        inputs = {
            "input_ids": np.array([each.ids for each in tokens], np.int64),
            "attention_mask": np.array([each.attention_mask for each in tokens], np.int64),
            "token_type_ids": np.array([each.type_ids for each in tokens], np.int64),
        }
        mask = inputs["attention_mask"][:, :, None]
        try:
            states = session.run(None, {name: given for name, given in inputs.items() if name in names})[0]
            vectors: Floats = (states * mask).sum(1) / np.maximum(mask.sum(1), 1) if states.ndim == 3 else states
        except Exception as error:  # onnxruntime raises classes of its own
            raise ConfigError(f"the encoder in {self.folder} is no encoder: {_first_line(error)}") from error
        return vectors


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
