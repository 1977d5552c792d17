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
_BY_WORD = {word: name for name, spellings in _PRIORITIES.items() for word in spellings.split()}


def priority(cell_text: str, numbers: Mapping[str, str]) -> str | None:
    """Return the priority that a text means; a bare number only if it is in `numbers`."""
    parts = plain(cell_text).split()
    if not parts:
        return None
    if len(parts) == 1 and parts[0].isdigit():
        return numbers.get(parts[0])
    known = _BY_WORD.get("".join(parts))
    if known is None:  # "1 - Critical", "P1 (critical)", "5 very high", "High priority"
        parts = [word for word in parts if not word.isdigit() and not word.startswith("prio")]
        meant = {_BY_WORD.get(word) for word in parts}
        known = _BY_WORD.get("".join(parts)) or (meant.pop() if len(meant) == 1 else None)
    return known
