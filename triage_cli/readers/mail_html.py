"""Converts the HTML of a mail or a helpdesk to text: blocks become lines, and quoted lines begin with `>`.

libxml2 parses it as events, without building a tree. So the time depends only on the length of a mail, even if its
tags are nested a hundred thousand deep.
"""

import re
from collections.abc import Mapping

_BLOCK_WORDS = (
    "address article aside blockquote br caption center dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 "
    "h6 header hr li main nav ol option p pre section table tr ul"
)
_INLINE_WORDS = (
    "a b big body code del em font html i img ins kbd mark s small span strike strong sub sup tbody td th thead tt u"
)
_BLOCK_TAGS = frozenset(_BLOCK_WORDS.split())
_INLINE_TAGS = frozenset(_INLINE_WORDS.split())
_PARAGRAPH_TAGS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "table", "ul", "ol"))
_UNSEEN_TAGS = frozenset(("head", "script", "style", "template", "title"))
_ANY_TAG = "|".join(sorted(_BLOCK_TAGS | _UNSEEN_TAGS | _INLINE_TAGS))
_LINE_TAG = "|".join(sorted(_BLOCK_TAGS | {"body", "html"}))
_ENTITY = r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[\da-f]{1,5});"
_MARKUP = re.compile(rf"</?(?:{_ANY_TAG})(?:\s[^<>]*)?/?>|<!(?:--|doctype)|{_ENTITY}", re.IGNORECASE)
# What a text written as HTML begins with, or holds: a lone <b> may be what a text is about.
_HTML_START = re.compile(rf"\s*<(?:!doctype\s|(?:{_LINE_TAG}|head|style)(?:\s[^<>]*)?/?>)", re.IGNORECASE)
_WRITTEN_MARKUP = re.compile(rf"</(?:{_ANY_TAG})\s*>|<(?:br|hr|img)(?:\s[^<>]*)?/?>|{_ENTITY}", re.IGNORECASE)
_LINE_MARKUP = re.compile(rf"</?(?:{_LINE_TAG})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_HIDDEN_STYLE = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f]+")


def is_html(html: str) -> bool:
    """Return whether a text holds HTML. Some helpdesks give HTML and plain text in the same field."""
    return _MARKUP.search(html) is not None


def is_written_as_html(text: str) -> bool:
    """Return whether a text is HTML as a whole, so that nothing is lost by reading it so: tags make its lines.

    Markdown and plain text with a few tags or entities have line ends of their own, which HTML would not keep.
    """
    if _HTML_START.match(text):
        return True
    return _WRITTEN_MARKUP.search(text) is not None and text.count("\n") <= len(_LINE_MARKUP.findall(text))


def is_same_text(one: str | None, other: str | None) -> bool:
    """Return whether two texts are the same but for tags, and the blanks between words, whichever of them is HTML."""
    if one == other or not one or not other:
        return one == other
    if not (is_html(one) or is_html(other)):
        return False
    one_words, other_words = plain(one).split(), plain(other).split()
    # The text of HTML may look like HTML itself, as `&lt;b&gt;` does, so each is compared as it is, too.
    return one_words in (other.split(), other_words) or other_words == one.split()


def plain(html: str) -> str:
    """Return the text of what is HTML; other text unchanged."""
    return text_of_html(html).strip() if is_html(html) else html


def text_of_html(html: str) -> str:
    """Return the text of an HTML document or fragment: what a reader sees, or all of it if that is nothing."""
    return _html_text(html, all_of_it=False) or _html_text(html, all_of_it=True)


def _html_text(html: str, *, all_of_it: bool) -> str:
    from lxml import etree

    parser = etree.HTMLParser(target=_HtmlLines(all_of_it=all_of_it), huge_tree=True)
    parser.feed(html)
    return str(parser.close())


class _HtmlLines:
    """Collects lines from the parser's events."""

    def __init__(self, *, all_of_it: bool) -> None:
        self._all_of_it = all_of_it
        self._depth = 0
        self._hidden_at = 0  # the depth of the outermost hidden element; 0 outside of any
        self._text_lines: list[str] = []
        self._line_pieces: list[str] = []
        self._quote_depth = 0
        self._unseen_depth = 0
        self._pre_depth = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if not self._hidden_at and not self._all_of_it and _is_hidden_element(attributes):
            self._hidden_at = self._depth
        if tag in _UNSEEN_TAGS:
            self._unseen_depth += 1
        if tag in _BLOCK_TAGS:
            self._end_line(blank=tag in _PARAGRAPH_TAGS)
        self._quote_depth += tag == "blockquote"
        self._pre_depth += tag == "pre"
        if self._hidden_at:
            return
        if tag == "li":
            self._line_pieces.append("* ")
        elif tag in ("td", "th") and self._line_pieces:
            self._line_pieces.append(" ")
        if tag == "img" and self._unseen_depth == 0 and (alt_text := attributes.get("alt")):
            self._line_pieces.append(_BLANKS.sub(" ", alt_text))

    def end(self, tag: str) -> None:
        if self._depth == self._hidden_at:
            self._hidden_at = 0
        self._depth -= 1
        if tag in _UNSEEN_TAGS:
            self._unseen_depth -= 1
        if tag in _BLOCK_TAGS and tag != "br":
            self._end_line(blank=tag in _PARAGRAPH_TAGS)
        self._quote_depth -= tag == "blockquote"
        self._pre_depth -= tag == "pre"

    def data(self, text: str) -> None:
        if self._unseen_depth > 0 or self._hidden_at:
            return
        if self._pre_depth <= 0:
            self._line_pieces.append(_BLANKS.sub(" ", text))
            return
        first_line, *other_lines = text.split("\n")
        self._line_pieces.append(first_line)
        for line in other_lines:
            self._end_line(blank=False, kept=True)
            self._line_pieces.append(line)

    def close(self) -> str:
        self._end_line(blank=False)
        return "\n".join(self._text_lines).strip("\n")

    def _end_line(self, *, blank: bool, kept: bool = False) -> None:
        line = "".join(self._line_pieces)
        line = line.rstrip() if self._pre_depth > 0 else _BLANKS.sub(" ", line).strip()
        self._line_pieces.clear()
        quote_mark = "> " if self._quote_depth > 0 else ""
        if line or kept:
            self._text_lines.append(f"{quote_mark}{line}")
        if blank and self._text_lines and self._text_lines[-1] not in ("", ">"):
            self._text_lines.append(quote_mark.rstrip())


def _is_hidden_element(attributes: Mapping[str, str]) -> bool:
    """Return whether a mail program shows nothing of an element. What is written there may be for a classifier only."""
    return "hidden" in attributes or _HIDDEN_STYLE.search(attributes.get("style") or "") is not None
