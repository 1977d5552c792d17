"""Converts the HTML of a mail to text: blocks become lines, and quoted lines begin with `>`.

libxml2 parses it as events, without building a tree. So the time depends only on the length of a mail, even if its
tags are nested a hundred thousand deep.
"""

import re
from collections.abc import Mapping

_LINES = frozenset((
    "address", "article", "aside", "blockquote", "br", "caption", "center", "dd", "div", "dl", "dt", "fieldset",
    "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option",
    "p", "pre", "section", "table", "tr", "ul",
))  # fmt: skip
_PARAGRAPHS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "table", "ul", "ol"))
_UNSEEN = frozenset(("head", "script", "style", "template", "title"))
_INLINE = (
    "a", "b", "big", "body", "code", "del", "em", "font", "html", "i", "img", "ins", "kbd", "mark", "s", "small",
    "span", "strike", "strong", "sub", "sup", "tbody", "td", "th", "thead", "tt", "u",
)  # fmt: skip
_MARKUP = re.compile(
    rf"</?(?:{'|'.join(sorted((*_LINES, *_UNSEEN, *_INLINE)))})(?:\s[^<>]*)?/?>|<!(?:--|doctype)"
    r"|&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[\da-f]{1,5});",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_GAP = re.compile(r"[ \t\r\n\f]+")


def is_html(text: str) -> bool:
    """Return whether a text holds HTML. Some helpdesks give HTML and plain text in the same field."""
    return _MARKUP.search(text) is not None


def plain(text: str) -> str:
    """Return the text of what is HTML; other text unchanged."""
    return text_of(text).strip() if is_html(text) else text


def text_of(html: str) -> str:
    """Return the text of an HTML document or fragment: what a reader sees, or all of it if that is nothing."""
    return _text(html, all_of_it=False) or _text(html, all_of_it=True)


def _text(html: str, *, all_of_it: bool) -> str:
    from lxml import etree

    parser = etree.HTMLParser(target=_Lines(all_of_it=all_of_it), huge_tree=True)
    parser.feed(html)
    return str(parser.close())


class _Lines:
    """Collects lines from the parser's events."""

    def __init__(self, *, all_of_it: bool) -> None:
        self._all_of_it = all_of_it
        self._depth = 0
        self._hidden_at = 0  # the depth of the outermost hidden element; 0 outside of any
        self._lines: list[str] = []
        self._line: list[str] = []
        self._quoted = 0
        self._unseen = 0
        self._exact = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if not self._hidden_at and not self._all_of_it and _is_hidden(attributes):
            self._hidden_at = self._depth
        if tag in _UNSEEN:
            self._unseen += 1
        if tag in _LINES:
            self._end_line(blank=tag in _PARAGRAPHS)
        self._quoted += tag == "blockquote"
        self._exact += tag == "pre"
        if self._hidden_at:
            return
        if tag == "li":
            self._line.append("* ")
        elif tag in ("td", "th") and self._line:
            self._line.append(" ")
        if tag == "img" and self._unseen == 0 and (described := attributes.get("alt")):
            self._line.append(_GAP.sub(" ", described))

    def end(self, tag: str) -> None:
        if self._depth == self._hidden_at:
            self._hidden_at = 0
        self._depth -= 1
        if tag in _UNSEEN:
            self._unseen -= 1
        if tag in _LINES and tag != "br":
            self._end_line(blank=tag in _PARAGRAPHS)
        self._quoted -= tag == "blockquote"
        self._exact -= tag == "pre"

    def data(self, text: str) -> None:
        if self._unseen > 0 or self._hidden_at:
            return
        if self._exact <= 0:
            self._line.append(_GAP.sub(" ", text))
            return
        first, *others = text.split("\n")
        self._line.append(first)
        for line in others:
            self._end_line(blank=False, kept=True)
            self._line.append(line)

    def close(self) -> str:
        self._end_line(blank=False)
        return "\n".join(self._lines).strip("\n")

    def _end_line(self, *, blank: bool, kept: bool = False) -> None:
        line = "".join(self._line)
        line = line.rstrip() if self._exact > 0 else _GAP.sub(" ", line).strip()
        self._line.clear()
        mark = "> " if self._quoted > 0 else ""
        if line or kept:
            self._lines.append(f"{mark}{line}")
        if blank and self._lines and self._lines[-1] not in ("", ">"):
            self._lines.append(mark.rstrip())


def _is_hidden(attributes: Mapping[str, str]) -> bool:
    """Return whether a mail program shows nothing of an element. What is written there may be for a classifier only."""
    return "hidden" in attributes or _HIDDEN.search(attributes.get("style") or "") is not None
