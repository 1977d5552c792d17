"""Learned versions of the embedded model: which of them can answer, and those of earlier releases."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from triage_cli.config import Config
from triage_cli.domain.learning import ModelVersion
from triage_cli.ports.storage import Store
from triage_cli.wiring.stores import open_shelf

if TYPE_CHECKING:  # an annotation is no reason to import numpy
    from triage_cli.classifiers.embedded.encoder import Encoder
    from triage_cli.classifiers.embedded.fitted_model import Model

_AN_EARLIER = "an earlier release"


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
    from triage_cli.classifiers.embedded import fitted_model as fitted

    model = fitted.Model.from_bytes(version.weights)
    if model.method != fitted.METHOD or not fitted.knows_encoder(model, encoder.fingerprint if encoder else ""):
        model = _fitted_again(version, model, config, store, tell, encoder) or model
    return fitted.suited_model(model, config.categories)


def _fitted_again(
    version: ModelVersion,
    old: "Model",
    config: Config,
    store: Store,
    tell: Callable[[str], None] | None,
    encoder: "Encoder | None",
) -> "Model | None":
    from triage_cli.classifiers.embedded import fitted_model as fitted
    from triage_cli.service.category_names import CategoryNames

    parts = (fitted.METHOD, old.learned, fitted.fingerprint(config.categories), encoder.fingerprint if encoder else "")
    name = sha256("\0".join(parts).encode()).hexdigest()
    weights = store.model(name)
    if weights is None:
        category_names = CategoryNames(config.categories)
        labels = {row.text: category_names.match(row.category) for row in open_shelf(store).labelled()}
        learned = [
            text for text, is_known in zip(labels, fitted.has_learned(old, list(labels)), strict=True) if is_known
        ]
        if not learned or len({fitted.text_number(text) for text in learned}) < len(old.seen):
            return None
        from triage_cli.classifiers.embedded import fit

        if tell is not None:
            tell(
                f"{name_of(version)} is of {_AN_EARLIER if old.method != fitted.METHOD else 'another encoder'}: "
                f"fitting it again to its {len(learned):,} labels, once"
            )
        weights = fit.fit(config.categories, [(text, labels[text] or "") for text in learned], encoder).to_bytes()
        store.keep_model(name, weights, {"version": version.version, "labelled": len(learned)})
    return fitted.Model.from_bytes(weights)


def name_of(version: ModelVersion) -> str:
    """Return what messages call a version."""
    return f"learned model version {version.version}"


def unsuited(version: ModelVersion) -> str:
    """Return the message about a learned model that cannot answer."""
    from triage_cli.classifiers.embedded import fitted_model as fitted

    name = name_of(version)
    if fitted.Model.from_bytes(version.weights).method != fitted.METHOD:
        return f"{name} is of {_AN_EARLIER}, and not all labels that it learned from are stored"
    return f"{name} is for other categories ({', '.join(json.loads(version.categories))})"
