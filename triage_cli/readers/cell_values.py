"""Reads cells of any field: placeholders for nothing, plain words, ids kept as numbers; and priorities."""

import re
import unicodedata
from collections.abc import Mapping

_TEXT_FORMULA = re.compile(r'\s*="([^"]*)"\s*')
_PLACEHOLDERS = "null none n/a na nan nil undefined (null) <null> #n/a \\n - -- --- \u2013 \u2014 ?"
_PLACEHOLDER_FORMS = frozenset(
    form for word in _PLACEHOLDERS.split() for form in (word, word.upper(), word.title(), word.capitalize())
) | {""}
_LONGEST_PLACEHOLDER = max(map(len, _PLACEHOLDER_FORMS))  # a longer text need not be looked up


def is_nothing(cell: str) -> bool:
    """Return whether a cell is empty or a placeholder for nothing."""
    text = cell.strip()
    return len(text) <= _LONGEST_PLACEHOLDER and text in _PLACEHOLDER_FORMS


def stripped_or_none(cell: str) -> str | None:
    """Return a cell's text, None if the cell is empty."""
    return cell.strip() or None


def text_or_none(cell: str) -> str | None:
    """Return a cell's text, None if it is a placeholder for nothing."""
    text = cell.strip()
    return None if len(text) <= _LONGEST_PLACEHOLDER and text in _PLACEHOLDER_FORMS else text


def plain(text: str) -> str:
    """Return a text in lower case without accents and punctuation, its words separated by single spaces."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", text.casefold().replace("_", " ")))


def plain_id(cell: str) -> str:
    """Return an id without the formula that keeps its zeros in a spreadsheet, such as ="00042"."""
    match = _TEXT_FORMULA.fullmatch(cell) if '="' in cell else None
    return match[1] if match else cell


_PRIORITIES = {
    "urgent": "urgent critical blocker highest emergency immediate veryhigh p0 p1 sev0 sev1 s1 prio1 showstopper "
    "kritisch dringend sehrhoch sofort hochste notfall critique bloquant urgente urgentissimo tresurgent treshaute "
    "treselevee critica critico muyalta muitoalta maxima massima altissima spoedeisend zeerhoog hoogste spoed "
    "sehrdringend dringlich eilig eilt muyurgente muitourgente moltourgente zeerdringend "
    "緊急 至急 大至急 最優先 最高 急いで 今すぐ 紧急 非常紧急 特急 致命 긴급 매우높음 매우긴급 최고 가장높음",
    "high": "high major important p2 sev2 s2 prio2 hoch wichtig haute eleve elevee important importante majeur majeure "
    "alta alto elevada elevado hoog sehrwichtig 高 高い 高め 重要 较高 較高 높음 상 중요",
    "normal": "normal medium med moderate average standard regular default p3 sev3 s3 prio3 mittel moyenne moyen media "
    "medio mediana normale moderee moderada gemiddeld normaal middel "
    "中 中程度 普通 通常 標準 标准 一般 中等 正常 보통 중간 중 일반",
    "low": "low minor trivial lowest verylow planning p4 p5 sev4 sev5 s4 s5 prio4 prio5 cosmetic niedrig gering "
    "sehrniedrig niedrigste basse faible mineur mineure tresbasse baixa baixo muitobaixa baja bajo muybaja bassa basso "
    "molltobassa moltobassa minima laag zeerlaag laagste "
    "低 低い 低め 最低 軽微 轻微 輕微 较低 較低 낮음 하 매우낮음 가장낮음 경미",
}
_PRIORITY_CODE = re.compile(r"(?:p|s|sev)[0-5]")
_PRIORITY_BY_WORD = {
    word if word.isascii() else plain(word): name
    for name, spellings in _PRIORITIES.items()
    for word in spellings.split()
}


def priority(text: str, priority_numbers: Mapping[str, str]) -> str | None:
    """Return the priority that a text means; a bare number only if it is in `priority_numbers`."""
    words = plain(text).split()
    if not words:
        return None
    if len(words) == 1 and words[0].isdigit():
        return priority_numbers.get(words[0])
    known = _PRIORITY_BY_WORD.get("".join(words))
    if known is None:  # "1 - Critical", "P1 (critical)", "P1 - now", "5 very high", "High priority"
        words = [word for word in words if not word.isdigit() and not word.startswith("prio")]
        priorities = {_PRIORITY_BY_WORD.get(word) for word in words}
        if words and _PRIORITY_CODE.fullmatch(words[0]):  # what it means to them is said in words of their own
            priorities.discard(None)
        known = _PRIORITY_BY_WORD.get("".join(words)) or (priorities.pop() if len(priorities) == 1 else None)
    return known


def unread_priority_reason(text: str) -> str:
    """Return why a priority stayed unread."""
    if plain(text).isdigit():
        return "are numbers, and nothing says which is the urgent end; write low, normal, high or urgent"
    return "are no known priorities; write low, normal, high or urgent"
