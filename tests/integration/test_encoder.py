"""An encoder of the user's own is asked where the word vectors are unsure, and nowhere else."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support import tiny_encoder
from tests.support.cli import Cli
from tests.support.embedded import answers
from triage_cli.classifiers import Encoder, LocalClassifier, Model, guesses
from triage_cli.classifiers import encoder as module
from triage_cli.classifiers import fit_model as fit
from triage_cli.domain import Category, ConfigError, TriageError

GARDEN = (
    Category("Plants", "trees and flowers, watering"),
    Category("Machines", "mowers and trimmers, engines"),
)
# Words that the table takes for nothing in particular, and that this encoder knows.
GROUPS = {"trees": 0, "flowers": 0, "watering": 0, "quince": 0, "mowers": 1, "trimmers": 1, "engines": 1, "gasket": 1}
UNSURE = "about the quince of my neighbour"
CONFIG = """
categories:
  - {name: Plants, description: "trees and flowers, watering"}
  - {name: Machines, description: "mowers and trimmers, engines"}
classifiers:
  local: {type: local, encoder: encoder}
"""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(tiny_encoder.write(tmp_path_factory.mktemp("encoder"), GROUPS))


@pytest.fixture(scope="module")
def beside(encoder: Encoder) -> Model:
    return Model.from_bytes(fit(GARDEN, encoder=encoder).to_bytes())


def opened(model: Model, encoder: Encoder | None, min_confidence: float) -> LocalClassifier:
    return LocalClassifier("local", model, min_confidence, actor="ann", run_id=None, categories=GARDEN, encoder=encoder)


def test_vectors_are_means_of_length_one_whatever_the_company(encoder: Encoder) -> None:
    texts = ["Trees mowers", "quince", "trees trees engines unknown words here", ""]
    found = encoder.vectors(texts)
    assert found.shape == (4, 8)
    assert np.allclose(np.linalg.norm(found[:3], axis=1), 1)
    assert found[0, 0] == pytest.approx(found[0, 1])
    assert not found[3].any()
    assert np.allclose(found, [encoder.vectors([text])[0] for text in texts])
    assert np.array_equal(encoder.vectors(texts, keep=True), encoder.vectors(texts, keep=True))


def test_it_is_asked_where_the_table_is_unsure_and_nowhere_else(
    encoder: Encoder, beside: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    vectors = Encoder.vectors

    def noted(self: Encoder, texts: list[str], *, keep: bool = False) -> np.ndarray:
        asked.extend(texts)
        return vectors(self, texts, keep=keep)

    monkeypatch.setattr(Encoder, "vectors", noted)
    sure, unsure = "mowers with engines and trimmers", UNSURE
    texts = (sure, unsure, "hello", "Dzień dobry, proszę o zwrot pieniędzy")
    with_it = answers(opened(beside, encoder, 0.7), *texts)
    assert asked == [unsure]
    without = answers(opened(beside, None, 0.7), *texts)
    assert [a.steps[0].category for a in with_it[:2]] == ["Machines", "Plants"]
    assert with_it[0].steps[0].confidence == without[0].steps[0].confidence
    assert (with_it[1].steps[0].confidence or 0) > (without[1].steps[0].confidence or 0)
    assert [a.steps[0].confidence for a in with_it[2:]] == [None, None]


def test_it_is_not_asked_about_what_it_can_hardly_change(
    encoder: Encoder, beside: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    [guess] = answers(opened(beside, None, 0.7), UNSURE)
    confidence = guess.steps[0].confidence or 0
    margin = 2 * confidence - 1  # there are two categories
    for share, tied, is_asked in ((0.99, 0.0, False), (0.99, margin + 0.01, True), (0.5, 0.0, True)):
        monkeypatch.setattr(guesses, "IN_REACH", share)
        monkeypatch.setattr(guesses, "TIED", tied)
        [found] = answers(opened(beside, encoder, 0.7), UNSURE)
        assert (found.steps[0].confidence != guess.steps[0].confidence) is is_asked


def test_answers_with_and_without_it_have_other_fingerprints(encoder: Encoder, beside: Model) -> None:
    with_it, without = opened(beside, encoder, 0.6), opened(beside, None, 0.6)
    assert with_it.fingerprint != without.fingerprint
    assert json.loads(with_it.questions()[0].options)["encoder"] == encoder.fingerprint
    assert without.fingerprint == opened(fit(GARDEN), None, 0.6).fingerprint


def test_a_model_that_was_fitted_beside_another_encoder_is_refused(beside: Model, tmp_path: Path) -> None:
    other = Encoder(tiny_encoder.write(tmp_path, {"trees": 1}))
    with pytest.raises(TriageError, match="another encoder"):
        opened(beside, other, 0.6)


def test_what_it_needs_and_lacks_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"holds no encoder: model\.onnx and tokenizer\.json are needed"):
        Encoder(tmp_path)
    damaged = Encoder(tiny_encoder.write(tmp_path, GROUPS))
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigError, match=r"cannot be read: .+") as caught:
        damaged.vectors(["a"])
    assert caught.value.hint == "docs/howto/encoder.md says where to get one"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="needs the package onnxruntime") as caught:
        Encoder(tmp_path).vectors(["a"])
    assert "[encoder]" in (caught.value.hint or "")
    assert module.MAX_TOKENS >= 128


def test_a_run_with_an_encoder_and_what_doctor_tells(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(CONFIG)
    missing = cli("doctor")
    assert missing.returncode == 8
    assert "holds no encoder" in missing.stdout
    tiny_encoder.write(cli.folder / "encoder", GROUPS)
    done = cli("run", "-o", "json", stdin=f"id,subject\n1,{UNSURE}\n")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert (record["triage_category"] or record["triage_suggestion"]) == "Plants"
    found = cli("doctor").stdout
    assert "encoder of 8 dimensions" in found
    assert Encoder(cli.folder / "encoder").fingerprint[:12] in found


def test_a_version_without_the_encoder_is_learned_anew_from_the_same_file(cli: Cli) -> None:
    words = ("oak", "rose", "fern"), ("saw", "drill", "blade")
    texts = [(f"my {each} in the garden {'x' * n}", n % 2) for n in range(12) for each in words[n % 2]]
    labelled = "".join(f"{text},{('Plants', 'Machines')[label]}\n" for text, label in texts)
    (cli.folder / "labelled.csv").write_text(f"description,label\n{labelled}")
    (cli.folder / "config.yaml").write_text(CONFIG.replace(", encoder: encoder", ""))
    assert cli("create", "-q", stdin=f"id,subject\n1,{UNSURE}\n").returncode == 0
    assert json.loads(cli("learn", "labelled.csv", "-o", "json").stdout)["outcome"] == "learned"
    tiny_encoder.write(cli.folder / "encoder", GROUPS)
    (cli.folder / "config.yaml").write_text(CONFIG)
    assert "is not asked; next: triage learn with all the labels that it learned from" in cli("classify").stderr
    again = json.loads(cli("learn", "labelled.csv", "-o", "json").stdout)
    assert (again["outcome"], again["version"]) == ("learned", 2)
    assert "is not asked" not in cli("classify", "--force").stderr
    assert json.loads(cli("learn", "labelled.csv", "-o", "json").stdout)["outcome"] == "kept"
