"""Write a folder for `encoder:` from the weights of all-MiniLM-L6-v2: model.onnx and tokenizer.json.

Call it as: python tools/export_encoder.py MODEL_DIR FOLDER
It needs torch, transformers and onnx, in an environment of its own. MODEL_DIR is as in `tools/make_vectors.py`.
"""

import shutil
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from transformers import BertModel

MODEL = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"


class States(torch.nn.Module):  # type: ignore[misc]  # torch is not there when this is checked
    """The model as a function from the inputs to the states of the tokens."""

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        """Return the last layer's states (texts, tokens, dimensions)."""
        return self.model(**dict(zip(INPUTS, inputs, strict=True))).last_hidden_state


def main(model: Path, folder: Path) -> None:
    """Write the folder, and print the hash of the encoder."""
    if (found := sha256((model / "model.safetensors").read_bytes()).hexdigest()) != MODEL:
        raise SystemExit(f"model.safetensors has the hash {found}, not {MODEL}")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model / "tokenizer.json", folder / "tokenizer.json")
    encoder = States(BertModel.from_pretrained(model, local_files_only=True, attn_implementation="eager").eval())
    example = torch.ones(2, 7, dtype=torch.long)
    axes = {name: {0: "texts", 1: "tokens"} for name in (*INPUTS, OUTPUT)}
    torch.onnx.export(
        encoder, (example, example, example * 0), folder / "model.onnx", input_names=list(INPUTS),
        output_names=[OUTPUT], dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip
    print(f"{folder}/model.onnx: sha256 {sha256((folder / 'model.onnx').read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
