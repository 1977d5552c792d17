"""Write a CSV of N tickets of about 440 bytes a row, the same for the same N: `make_tickets.py N FILE`."""

import csv
import random
import sys
from pathlib import Path

WORDS = """the invoice charge refund card payment account login error page loads slowly again order shipped address
change please help since yesterday customer portal password reset update failed twice month subscription plan cancel
how can we integrate report export missing data server timeout mobile app crashed after your last release thank you
regards""".split()  # noqa: SIM905 - words read better as text
PRIORITIES = ("low", "normal", "high", "urgent", "")


def main(number: int, path: Path) -> None:
    chance = random.Random(7)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ticket_id", "subject", "description", "customer_id", "priority", "created_at"])
        for n in range(number):
            subject = " ".join(chance.choices(WORDS, k=6)).capitalize()
            text, length = [], 0
            while length < 330:
                word = chance.choice(WORDS)
                text.append(word)
                length += len(word) + 1
            day = f"2026-{n % 12 + 1:02d}-{n % 28 + 1:02d}T{n % 24:02d}:15:00Z"
            priority = chance.choice(PRIORITIES)
            writer.writerow([f"T-{n:07d}", subject, " ".join(text), f"C-{n % 9973}", priority, day])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
