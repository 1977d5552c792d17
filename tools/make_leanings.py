"""Makes `leanings.npy`: how much each word of the lexicon leans to English or away from it.

Call it as: python tools/make_leanings.py
To be called after a change of the lexicon (`tools/make_vectors.py`), of the languages that are told apart, or of
py3langid. The leaning of a word is its log-likelihood in English less that in the likeliest other language, by
py3langid's model, within LARGEST, in 8 bits.
"""

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from triage_cli import domain as dm
from triage_cli.classifiers import LEANINGS_FILE
from triage_cli.classifiers import default_word_vectors as word_vectors

LARGEST, SCALE = 6.0, 20


def main() -> None:
    """Write the file."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(list(dm.LANGUAGES))

    def leaning(word: str) -> float:
        scores: dict[str, float] = dict(identifier.rank(f" {word} "))
        english = scores.pop("en")
        return english - max(scores.values())

    entries = word_vectors().lexicon.entries
    leanings = np.array([0.0 if entry.startswith("##") else leaning(entry) for entry in entries])
    np.save(LEANINGS_FILE, np.rint(np.clip(leanings, -LARGEST, LARGEST) * SCALE).astype(np.int8))


if __name__ == "__main__":
    main()
