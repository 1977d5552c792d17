"""Learned versions of the embedded model: which of them can answer, and those of earlier releases."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from triage_cli.config import Config
from triage_cli.domain import ModelVersion
from triage_cli.ports import Store
from triage_cli.wiring.stores import open_model_registry

if TYPE_CHECKING:  # an annotation is no reason to import numpy
    from triage_cli.classifiers import Encoder, Model

_EARLIER_RELEASE = "an earlier release"


def suited(
    version: ModelVersion,
    config: Config,
    store: Store,
    tell: Callable[[str], None] | None = None,
    encoder: "Encoder | None" = None,
) -> "Model | None":
    """Return a learned model with the configuration's categories; None if it cannot answer for them.

    A model of an earlier release, or of another encoder, is fitted again, once, if all labels that it learned from are
    stored.
    """
    from triage_cli.classifiers import fitted_model

    model = fitted_model.Model.from_bytes(version.weights)
    if model.method != fitted_model.METHOD or not fitted_model.knows_encoder(
        model, encoder.fingerprint if encoder else ""
    ):
        model = _fitted_again(version, model, config, store, tell, encoder) or model
    return fitted_model.suited_model(model, config.categories)


def _fitted_again(
    version: ModelVersion,
    old_model: "Model",
    config: Config,
    store: Store,
    tell: Callable[[str], None] | None,
    encoder: "Encoder | None",
) -> "Model | None":
    from triage_cli.classifiers import fitted_model
    from triage_cli.service import CategoryNames

    key_parts = (
        fitted_model.METHOD,
        old_model.learned,
        fitted_model.fingerprint(config.categories),
        encoder.fingerprint if encoder else "",
    )
    model_key = sha256("\0".join(key_parts).encode()).hexdigest()
    weights = store.model(model_key)
    if weights is None:
        category_names = CategoryNames(config.categories)
        labels = {row.text: category_names.match(row.category) for row in open_model_registry(store).labelled()}
        learned_texts = [
            text
            for text, is_known in zip(labels, fitted_model.knows_exactly(old_model, list(labels)), strict=True)
            if is_known
        ]
        if not learned_texts or len({fitted_model.text_number(text) for text in learned_texts}) < len(old_model.seen):
            return None
        from triage_cli.classifiers import embedded_fit as fit

        if tell is not None:
            tell(
                f"{version_name_of(version)} is of "
                f"{_EARLIER_RELEASE if old_model.method != fitted_model.METHOD else 'another encoder'}: "
                f"fitting it again to its {len(learned_texts):,} labels, once"
            )
        weights = fit.fit(config.categories, [(text, labels[text] or "") for text in learned_texts], encoder).to_bytes()
        store.keep_model(model_key, weights, {"version": version.version, "labelled": len(learned_texts)})
    return fitted_model.Model.from_bytes(weights)


def with_copies(
    version: ModelVersion, model: "Model", store: Store, tell: Callable[[str], None] | None = None
) -> "Model":
    """Return a learned model that recognises its texts in other spellings; one of an earlier release by stored texts.

    `tell` gets a message if some of its texts are not stored, so that copies of them are not recognised.
    """
    from triage_cli.classifiers import fitted_model

    if not fitted_model.lacks_copies(model):
        return model
    texts = list({row.text for row in open_model_registry(store).labelled()})
    learned_texts = [
        text for text, is_known in zip(texts, fitted_model.knows_exactly(model, texts), strict=True) if is_known
    ]
    if tell is not None and (number := len(model.seen) - len(learned_texts)):
        tell(
            f"{version_name_of(version)} is of {_EARLIER_RELEASE}: it recognises {number:,} of its texts only in their "
            "exact spelling, so copies of these in another one count as labels; next: triage learn with their file"
        )
    return model._replace(copies=fitted_model.copy_numbers(learned_texts))


def version_name_of(version: ModelVersion) -> str:
    """Return what messages call a learned version."""
    return f"learned model version {version.version}"


def unsuited(version: ModelVersion) -> str:
    """Return the message about a learned model that cannot answer."""
    from triage_cli.classifiers import fitted_model

    version_name = version_name_of(version)
    if fitted_model.Model.from_bytes(version.weights).method != fitted_model.METHOD:
        return f"{version_name} is of {_EARLIER_RELEASE}, and not all labels that it learned from are stored"
    return f"{version_name} is for other categories ({', '.join(json.loads(version.categories))})"
