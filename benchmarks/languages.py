"""How right the embedded classifier is in other languages than English, and how many of its sure answers are right.

Call it as: python benchmarks/languages.py DATA_DIR [default|own|parallel|across…]

default   the three default categories with nothing but the built-in English examples, a line a language
own       categories of a shop and of a bank, taught by ENGLISH_ROWS English tickets a category
parallel  commands in several languages, from the names of the categories, taught by LABELS English rows a category, and
          by LABELS rows of their own
across    the default categories after 100 verdicts in English, judged in German, Japanese and Turkish, and the other
          way round

DATA_DIR has bitext_category and banking77, with train.csv and categories.yaml, and languages/parallel_commands, with
LANGUAGE.valid.csv and LANGUAGE.test.csv. The tickets of `default` and `own` are those of the tests.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from random import Random
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import Labelled, answers, categories_of, line, read, sample
from tests.support.labelled_languages import TICKETS, tickets_of
from triage_cli import domain as dm
from triage_cli.config import DEFAULT_CATEGORIES

ENGLISH_ROWS, LABELS = 60, 16
PARALLEL = ("de", "it", "ja", "nl", "tr", "zh", "ar", "en", "da", "id", "sr")  # the first seven are of the sixteen
READ = 7
VERDICTS = 100


def figures(categories: Sequence[dm.Category], lesson: Labelled, test: Labelled) -> tuple[float, float, float]:
    """Return the shares of tickets that are right, of those that are sure, and of the sure ones that are right."""
    given = answers(categories, lesson, [text for text, _ in test])
    right = [answer.category == label for answer, (_, label) in zip(given, test, strict=True)]
    sure = [is_right for is_right, answer in zip(right, given, strict=True) if answer.is_sure]
    return fmean(right), len(sure) / len(test), fmean(sure) if sure else float("nan")


def show(name: str, number: int, found: Iterable[float]) -> None:
    print(line(name, str(number), *(f"{figure:.2f}" for figure in found)), flush=True)


def head(*columns: str) -> None:
    print(line("", "tickets", *columns))
    print(line(*["---"] * (len(columns) + 2)))


def default(_data: Path) -> None:
    head("right", "sure", "right if sure")
    by_language = {
        language: [(text, label) for _, label, text in rows]
        for language, rows in groupby(tickets_of("defaults.txt"), key=lambda row: row[0])
    }
    found = [figures(DEFAULT_CATEGORIES, [], test) for test in by_language.values()]
    for (language, test), each in zip(by_language.items(), found, strict=True):
        show(language, len(test), each)
    show("mean", sum(map(len, by_language.values())), map(fmean, zip(*found, strict=True)))
    for name, tickets in TICKETS.items():
        show(name, len(tickets), figures(DEFAULT_CATEGORIES, [], list(tickets)))


def own(data: Path) -> None:
    head("right", "sure", "right if sure")
    tests = [(place.split(), (text, label)) for place, label, text in tickets_of("own_categories.txt")]
    for desk, folder in (("shop", "bitext_category"), ("bank", "banking77")):
        test = [(language, row) for (language, its_desk), row in tests if its_desk == desk]
        labels = {label for _, (_, label) in test}
        categories = [category for category in categories_of(data / folder) if category.name in labels]
        train = [row for row in read(data / folder / "train.csv") if row[1] in labels]
        lesson = sample(train, ENGLISH_ROWS)
        for language in dict.fromkeys(language for language, _ in test):
            rows = [row for its_language, row in test if its_language == language]
            show(f"{desk} {language}", len(rows), figures(categories, lesson, rows))
        show(desk, len(test), figures(categories, lesson, [row for _, row in test]))


def parallel(data: Path) -> None:
    folder = data / "languages" / "parallel_commands"
    rows = {code: [commands(folder / f"{code}.{part}.csv") for part in ("valid", "test")] for code in PARALLEL}
    names = sorted({label for _, label in rows["en"][0]})
    categories = [dm.Category(name, "") for name in names]
    head(*(f"{part}: {figure}" for part in ("cold", f"{LABELS} English", f"{LABELS} own") for figure in FIGURES))
    english = sample(rows["en"][0], LABELS)
    found = []
    for code, (valid, test) in rows.items():
        lessons: tuple[Labelled, ...] = ([], english, sample(valid, LABELS))
        found.append([figure for lesson in lessons for figure in figures(categories, lesson, test)])
        show(code, len(test), found[-1])
    show(f"mean of {READ}", 0, map(fmean, zip(*found[:READ], strict=True)))


FIGURES = ("right", "sure", "right if sure")


def commands(path: Path) -> Labelled:
    import csv

    with path.open(encoding="utf-8", newline="") as file:
        return [(row["description"], row["label"]) for row in csv.DictReader(file)]


def across(data: Path) -> None:
    """Teach the shop's categories in one language by verdicts, and judge in others."""
    folder = data / "languages" / "parallel_commands"
    rows = {code: [commands(folder / f"{code}.{part}.csv") for part in ("valid", "test")] for code in PARALLEL}
    categories = [dm.Category(name, "") for name in sorted({label for _, label in rows["en"][0]})]
    head("untaught", *(f"{VERDICTS} {code}" for code in ("en", "de", "ja", "tr")))
    for code in ("en", "de", "ja", "tr"):
        lessons = [[], *(Random(0).sample(rows[taught][0], VERDICTS) for taught in ("en", "de", "ja", "tr"))]
        show(code, len(rows[code][1]), (figures(categories, lesson, rows[code][1])[0] for lesson in lessons))


KINDS: dict[str, Callable[[Path], None]] = {"default": default, "own": own, "parallel": parallel, "across": across}


def main() -> None:
    data, *kinds = sys.argv[1:]
    for kind in kinds or KINDS:
        print(f"\n{kind}\n")
        KINDS[kind](Path(data))


if __name__ == "__main__":
    main()
