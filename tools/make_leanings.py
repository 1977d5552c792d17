"""Makes what tells languages: `leanings.npy`, and `languages.npz.xz`.

Call it as: python tools/make_leanings.py
To be called after a change of the lexicon (`tools/make_vectors.py`), of the languages that are told apart, or of
py3langid. The leaning of a word is its log-likelihood in English less that in the likeliest other language, by
py3langid's model, within LARGEST, in 8 bits. The other file is this model without the languages that are not told: it
is read in a third of the time.
"""

import numpy as np
from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier
from py3langid.modelio import load_model, save_model

from triage_cli import domain as dm
from triage_cli.classifiers import LANGUAGES_FILE, LEANINGS_FILE
from triage_cli.classifiers import default_word_vectors as word_vectors

LARGEST, SCALE = 6.0, 20


def main() -> None:
    """Write both files."""
    shares, priors, codes, *rest = load_model(MODEL_DIR / MODEL_FILE)
    told = [number for number, code in enumerate(codes) if code in dm.LANGUAGES]
    save_model(LANGUAGES_FILE, (shares[:, told], priors[told], [codes[number] for number in told], *rest))
    identifier = LanguageIdentifier.from_modelpath(LANGUAGES_FILE)

    def leaning(word: str) -> float:
        scores: dict[str, float] = dict(identifier.rank(f" {word} "))
        english = scores.pop("en")
        return english - max(scores.values())

    entries = word_vectors().lexicon.entries
    leanings = np.array([0.0 if entry.startswith("##") else leaning(entry) for entry in entries])
    np.save(LEANINGS_FILE, np.rint(np.clip(leanings, -LARGEST, LARGEST) * SCALE).astype(np.int8))


if __name__ == "__main__":
    main()
