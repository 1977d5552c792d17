"""Tickets about three subjects that no list names, with words of many people and of one."""

import random

SUBJECTS = {
    "parcel": ("parcel courier tracking delivery late arrived depot doorstep", "where is"),
    "password": ("password login reset locked account verification code browser", "cannot use"),
    "invoice": ("invoice charged refund twice payment statement amount card", "please explain"),
}


def three_subjects(number: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return so many texts, each with its subject."""
    random_source, texts = random.Random(seed), []
    for place in range(number):
        subject = list(SUBJECTS)[place % len(SUBJECTS)]
        words, begin = SUBJECTS[subject]
        texts.append((f"{begin} my {' '.join(random_source.sample(words.split(), 5))}, thanks", subject))
    return texts
