"""The keys of `triage review`: one for each category, and those of commands."""

import string
from collections.abc import Mapping, Sequence

# The keys of commands.
QUIT, SKIP, UNDO, NOTE, FILTER, ORDER, ROUTE, LEARN = "q", "s", "u", "n", "f", "o", "r", "l"
NAME, HELP = "/", "?"
ALIKE = "="  # decides what waits with nearly the same text as the ticket before
NEXT_QUESTION = "."  # only where tickets are asked more than their category
WHY = "w"  # only where one line is read at a time; the full screen always shows why
COMMANDS = {  # what each key does, for the help
    "enter": "take the guess",
    "1-9, a letter": "that category; of many, 1-3 fit best",
    NAME: "a category by the beginning of its name",
    NEXT_QUESTION: "the next question about the ticket, with keys for its values",
    NOTE: "a note for the next verdict",
    SKIP: "skip",
    ALIKE: "the same for what waits with its text",
    UNDO: "undo the last verdict or skip",
    FILTER: "find and filter tickets",
    ORDER: "another order: most informative, urgent, newest first",
    ROUTE: "route the ticket now",
    LEARN: "learn from the verdicts, and go on in the new order",
    "up, down": "the ticket before, the next one",
    "page up, page down": "a page of tickets",
    "home, end": "the first ticket, the last one",
    "space, backspace": "a page of the ticket's text forward, back",
    HELP: "this page",
    QUIT: "quit; what is shown as stored is stored",
}
# The keys of the last line of the screen, each in a word; the most needed ones come first.
SHORT_COMMANDS = {
    HELP: "help", QUIT: "quit", "↵": "guess", NEXT_QUESTION: "question", SKIP: "skip", UNDO: "undo", NOTE: "note",
    NAME: "name", FILTER: "find", ORDER: "order", ROUTE: "route", LEARN: "learn",
}  # fmt: skip
PROMPTS = {NAME: "{}: ", NOTE: "note for the next verdict: ", FILTER: "show only: "}
CATEGORY_DIGITS = "123456789"
BEST_GUESSES = 3  # that have the first digits where there are too few digits


def shown_keys(commands: Mapping[str, str], *, asks_more: bool) -> dict[str, str]:
    """Return the commands to show: that for the next question only where tickets are asked more than one."""
    return {key: word for key, word in commands.items() if asks_more or key != NEXT_QUESTION}


def keys_of(category_names: Sequence[str], likely: Sequence[str] = ()) -> dict[str, str]:
    """Return the categories by their keys: digits for the first nine, for each the first free letter of its name.

    `likely` ones have the first digits. A category without a free letter is given by `/` and the beginning of its name.
    """
    used_keys = {QUIT, SKIP, UNDO, NOTE, FILTER, ORDER, ROUTE, LEARN, WHY}
    categories_by_key = dict(zip(CATEGORY_DIGITS, dict.fromkeys((*likely, *category_names)), strict=False))
    for name in category_names:
        letters = [c for c in name.casefold() if c in string.ascii_lowercase]
        for letter in (*letters, *(c.upper() for c in letters), *string.ascii_letters):
            if letter not in used_keys:
                used_keys.add(letter)
                categories_by_key[letter] = name
                break
    return categories_by_key


def beginning_with(typed: str, category_names: Sequence[str]) -> list[str]:
    """Return the categories with this beginning, in any case; only one if its whole name was typed."""
    folded_beginning = typed.strip().casefold()
    matching_categories = [name for name in category_names if name.casefold().startswith(folded_beginning)]
    return [name for name in matching_categories if name.casefold() == folded_beginning] or matching_categories
