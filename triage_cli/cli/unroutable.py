"""Tickets of a run that no rule takes: told in one line at its end, also with -q, since nothing else is ever heard."""

from collections import Counter

from triage_cli.cli import messages


class Unroutable:
    """Counts them by category."""

    def __init__(self) -> None:
        self._by_category: Counter[str] = Counter()

    def add(self, category: str | None) -> None:
        """Count one more."""
        self._by_category[category or "no category"] += 1

    def close(self) -> None:
        """Tell how many there are, of which categories, and what to do."""
        if not self._by_category:
            return
        number = self._by_category.total()
        listed = ", ".join(f"{name} ({count:,})" for name, count in self._by_category.most_common())
        messages.say(
            f"{messages.plural(number, 'tickets are unroutable', 'ticket is unroutable')}, since no rule takes "
            f"{'it' if number == 1 else 'them'}: {listed}; add one to routes in the config, then triage route"
        )
