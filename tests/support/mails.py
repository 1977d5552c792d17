"""Mails and mailboxes, made in code."""

from collections.abc import Sequence

POSTMARK = "From MAILER-DAEMON Thu Nov 26 10:00:00 2026\n"
REPLY = (
    "It still fails.\n\nOn Mon, 2 Nov 2026 at 10:00, Support <help@shop.example> wrote:\n"
    "> We refunded your invoice twice and the payment went through.\n> Is that well?\n"
)


def mail(
    text: str = "I was charged twice",
    *,
    name: str = "1@x",
    subject: str | None = "A matter",
    sender: str = "Ann <ann@x.example>",
    date: str | None = "Thu, 26 Nov 2026 10:00:00 +0100",
    after: Sequence[str] = (),
    reply_to: str | None = None,
    more: Sequence[str] = (),
) -> bytes:
    """Return a mail; `after` are its references, oldest first, `more` further headers."""
    headers = [f"From: {sender}", f"Message-ID: <{name}>", *more]
    headers += [f"Subject: {subject}"] * (subject is not None)
    headers += [f"Date: {date}"] * (date is not None)
    headers += [f"References: {' '.join(f'<{each}>' for each in after)}"] * bool(after)
    headers += [f"In-Reply-To: <{reply_to}>"] * (reply_to is not None)
    return "\n".join([*headers, "", text]).encode()


def mbox(*mails: bytes) -> bytes:
    """Return a mailbox of these mails, none of which has a line that must be escaped."""
    return b"".join(POSTMARK.encode() + each + b"\n\n" for each in mails)


def multipart(*parts: str, kind: str = "mixed") -> tuple[str, str]:
    """Return the Content-Type header of a multipart, and its body; a part is its headers, a blank line, its text."""
    body = "".join(f"--edge\n{part}\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="edge"', f"{body}--edge--\n"
