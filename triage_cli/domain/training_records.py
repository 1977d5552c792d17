"""What the embedded model learns from, labelled and unlabelled texts, and the versions that came of it."""

from typing import NamedTuple

from triage_cli.domain.tickets import CATEGORY


class Labelled(NamedTuple):
    """A text to learn from, with its known category, and the id of its ticket (empty: a row of a file)."""

    text: str
    category: str
    ticket_id: str = ""


class Unlabelled(NamedTuple):
    """Texts to learn from without a known category, and the weight of a guess about one; a labelled text has 1."""

    texts: tuple[str, ...] = ()
    weight: float = 0.0


NOTHING = Unlabelled()


class ModelVersion(NamedTuple):
    """A version of the embedded model that was learned from labelled tickets; at most one version is active.

    `categories` is a JSON list of names, `weights` comes from `to_bytes` of the model, `metrics` is a JSON object with
    the figures for which it was accepted. `based_on` is the version that was active when it was added, 0 for the
    built-in model (None: written by an older program). A version answers one question; others are answered by the last
    of those that it is based on. What one run has learned is taken back together.
    """

    version: int
    categories: str
    weights: bytes
    metrics: str
    active: int
    actor: str
    at: str
    based_on: int | None = None
    question: str = CATEGORY
    run_id: str | None = None
