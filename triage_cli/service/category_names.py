"""The names of categories: matches a typed name or a label to a category, in any case and also by a former name."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

from triage_cli.domain import Category, RowError, UsageError


class CategoryNames:
    """The present and former names of one list of categories."""

    def __init__(self, categories: Sequence[Category]) -> None:
        self._names_by_folded = {_folded_name(name): c.name for c in categories for name in (*c.was, c.name)}

    def match(self, text: str) -> str | None:
        """Return the category that a text names, in any case and also by a former name, or None."""
        return self._names_by_folded.get(_folded_name(text))

    def unknown(self, text: str, prefix: str = "") -> RowError:
        """Return the error for a name that is no category."""
        close = difflib.get_close_matches(_folded_name(text), self._names_by_folded, n=1)
        names = f"the categories are {', '.join(dict.fromkeys(self._names_by_folded.values()))}"
        hint = f'did you mean "{self._names_by_folded[close[0]]}"? {names}' if close else names
        return RowError(f'{prefix}no category "{text.strip()}"', hint=hint)

    def none_of(self, row_labels: Iterable[str]) -> UsageError:
        """Return the error for labelled tickets if none of their labels is a category."""
        labels = ", ".join(sorted(set(row_labels))[:5])
        if not labels:
            return UsageError("no ticket of the file has a label", hint="name the right column with --label")
        names = ", ".join(dict.fromkeys(self._names_by_folded.values()))
        return UsageError(
            f"no label of the file is a category (labels: {labels}; categories: {names})",
            hint="name the right column with --label, or the categories in the config",
        )


def _folded_name(name: str) -> str:
    """Return a form that is equal for category names which a person would take for the same."""
    return unicodedata.normalize("NFC", name.strip()).casefold()
