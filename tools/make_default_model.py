"""Fit the model of the default categories, which comes with the package: `python tools/make_default_model.py`.

To be called after a change of the built-in examples, of the default categories, of the word vectors, or of `METHOD` in
`classifiers/embedded/fitted_model.py`. A new database then need not fit it, which takes most of a first command's time.
"""

from triage_cli.classifiers import DEFAULT_MODEL, fitted_to_wording
from triage_cli.classifiers import fit_model as fit
from triage_cli.config import DEFAULT_CATEGORIES


def main() -> None:
    """Write the file."""
    model = fit(DEFAULT_CATEGORIES)
    whole = model._replace(wording=(), multilingual=fitted_to_wording(model.wording))
    DEFAULT_MODEL.write_bytes(whole.to_bytes())


if __name__ == "__main__":
    main()
