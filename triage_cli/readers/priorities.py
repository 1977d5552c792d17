"""Reads priorities, in the words of several languages or as the numbers of a helpdesk."""

from collections.abc import Mapping

from triage_cli.readers.cell_values import plain

_PRIORITIES = {
    "urgent": "urgent critical blocker highest emergency immediate veryhigh p0 p1 sev0 sev1 s1 prio1 showstopper "
    "kritisch dringend sehrhoch sofort hochste notfall critique bloquant urgente urgentissimo tresurgent treshaute "
    "treselevee critica critico muyalta muitoalta maxima massima altissima spoedeisend zeerhoog hoogste spoed",
    "high": "high major important p2 sev2 s2 prio2 hoch wichtig haute eleve elevee important importante majeur majeure "
    "alta alto elevada elevado hoog",
    "normal": "normal medium med moderate average standard regular default p3 sev3 s3 prio3 mittel moyenne moyen media "
    "medio mediana normale moderee moderada gemiddeld normaal middel",
    "low": "low minor trivial lowest verylow planning p4 p5 sev4 sev5 s4 s5 prio4 prio5 cosmetic niedrig gering "
    "sehrniedrig niedrigste basse faible mineur mineure tresbasse baixa baixo muitobaixa baja bajo muybaja bassa basso "
    "molltobassa minima laag zeerlaag laagste",
}
_PRIORITY_BY_WORD = {word: name for name, spellings in _PRIORITIES.items() for word in spellings.split()}


def priority(cell_text: str, priority_numbers: Mapping[str, str]) -> str | None:
    """Return the priority that a text means; a bare number only if it is in `priority_numbers`."""
    priority_words = plain(cell_text).split()
    if not priority_words:
        return None
    if len(priority_words) == 1 and priority_words[0].isdigit():
        return priority_numbers.get(priority_words[0])
    known_priority = _PRIORITY_BY_WORD.get("".join(priority_words))
    if known_priority is None:  # "1 - Critical", "P1 (critical)", "5 very high", "High priority"
        priority_words = [word for word in priority_words if not word.isdigit() and not word.startswith("prio")]
        priorities = {_PRIORITY_BY_WORD.get(word) for word in priority_words}
        known_priority = _PRIORITY_BY_WORD.get("".join(priority_words)) or (
            priorities.pop() if len(priorities) == 1 else None
        )
    return known_priority
