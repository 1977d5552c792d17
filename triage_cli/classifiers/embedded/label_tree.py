"""The levels of a model's labels: probabilities summed over what is below, and the guess that they lead down to."""

from collections.abc import Sequence

import numpy as np

from triage_cli import domain as dm
from triage_cli.classifiers.embedded.fitted_model import Floats, Integers, Model
from triage_cli.classifiers.embedded.score_calibration import logit

# What is added to the log-odds of the levels above a guess if the model knows names and descriptions alone: then their
# sums are too low (the mean of two public sets and parts of them). With examples or labels, sums are right as they are.
UNTAUGHT_SHIFT = 0.5


class LabelTree:
    """The tree of a model's labels, by their indexes."""

    def __init__(self, model: Model, levels: dm.Levels) -> None:
        index_of = {label: index for index, label in enumerate(model.labels)}
        self._shift = UNTAUGHT_SHIFT if model.knows_descriptions_alone else 0.0
        self._parents = np.array([index_of.get(levels.parents.get(label, ""), -1) for label in model.labels])
        self._has_children = np.isin(np.arange(len(model.labels)), self._parents)
        depths = np.array([levels.depth(label) for label in model.labels])
        self._depth = int(depths.max())
        # Of each level, the lowest first: labels by their parents, where those of each begin, and these parents.
        self._groups: list[tuple[Integers, Integers, Integers]] = []
        for depth in range(self._depth, 1, -1):
            below = np.flatnonzero(depths == depth)
            below = below[np.argsort(self._parents[below], kind="stable")]
            parents, starts = np.unique(self._parents[below], return_index=True)
            self._groups.append((below, starts, parents))

    def read(self, own: Floats) -> tuple[Floats, Integers]:
        """Return the probabilities of labels with what is below them (texts, labels), and each text's guess.

        The guess is the likeliest label of the first level, or the likeliest one below it, and so on.
        """
        chances = own.copy()
        for below, starts, parents in self._groups:
            chances[:, parents] += np.add.reduceat(chances[:, below], starts, axis=1)
        rows = np.arange(len(own))
        guesses: Integers = np.where(self._parents == -1, chances, -1).argmax(axis=1)
        for _ in range(self._depth - 1):
            below_guess = np.where(self._parents == guesses[:, None], chances, -1)
            best = below_guess.argmax(axis=1)
            guesses = np.where(below_guess[rows, best] > own[rows, guesses], best, guesses)
        if self._shift:
            self._shift_path(chances, guesses)
        return chances, guesses

    def next_to(self, guesses: Integers, own: Floats) -> Integers:
        """Return the likeliest label of each text that is neither its guess nor above that."""
        others, rows, labels = own.copy(), np.arange(len(own)), guesses
        for _ in range(self._depth):
            others[rows, labels] = -1
            labels = np.where(self._parents[labels] >= 0, self._parents[labels], labels)
        next_labels: Integers = others.argmax(axis=1)
        return next_labels

    def path(self, guess: int) -> Sequence[int]:
        """Return the index of a label, and those of the labels above it."""
        path = [guess]
        while (parent := int(self._parents[path[-1]])) >= 0:
            path.append(parent)
        return path

    def _shift_path(self, chances: Floats, guesses: Integers) -> None:
        """Raise the probabilities of the guesses that have children, and of all above the guesses."""
        labels = np.where(self._has_children[guesses], guesses, self._parents[guesses])
        while len(rows := np.flatnonzero(labels >= 0)):
            raised = 1 / (1 + np.exp(-logit(chances[rows, labels[rows]]) - np.float32(self._shift)))
            chances[rows, labels[rows]] = raised
            labels = np.where(labels >= 0, self._parents[labels], -1)
