"""Header names -> our fields: by what a known helpdesk calls them, else by common words of seven languages."""

import difflib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from triage_cli.domain.errors import UsageError
from triage_cli.readers.helpdesks import recognised
from triage_cli.readers.values import plain

FIELDS = ("subject", "description", "customer_id", "priority", "created_at", "external_id", "verdict")


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Compact names, the better first. `verdict` has none: a human's decision is taken only where --map says so.
_NAMES = {
    "subject": (
        "subject ticketsubject subjectline rawsubject emailsubject summary shortdescription ticketname tickettitle "
        "betreff asunto assunto objet oggetto onderwerp title titel titre titulo titolo sujet kurzbeschreibung "
        "headline heading thema resume resumen resumo riassunto riepilogo samenvatting zusammenfassung taskname "
        "cardname issue"
    ),
    "description": (
        "description ticketdescription descriptiontext fulldescription longdescription body messagebody ticketbody "
        "bodytext plainbody content message messagetext text details detail beschreibung nachricht inhalt descripcion "
        "mensaje cuerpo contenido descricao mensagem corpo conteudo descrizione messaggio testo contenuto corps "
        "contenu texte beschrijving omschrijving bericht inhoud tekst texto problem problemdescription probleme "
        "problema complaint consumercomplaintnarrative narrative inquiry enquiry question query frage pregunta "
        "pergunta domanda vraag request customerservice comment comments firstcomment kommentar commentaire "
        "comentario commento feedback verbatim utterance instruction prompt notes note observacoes "
        "observacao observaciones"
    ),
    "customer_id": (
        "customerid customernumber customerno clientid clientnumber requesterid callerid contactid userid accountid "
        "customerref kundennummer kundennr kundenid idcliente iddocliente clienteid codigocliente numeroclient "
        "idclient codicecliente klantnummer klantid customeremail customeremailaddress requesteremail clientemail "
        "contactemail useremail associatedcontactemail senderemail fromemail email emailaddress mail kundenemail "
        "customer requester caller client cliente kunde klant aanvrager anfragender solicitante demandeur richiedente "
        "sender from absender customercode"
    ),
    "priority": (
        "priority ticketpriority prio prioritat priorite prioridad prioridade priorita prioriteit actualpriority "
        "prioritylevel priorityname severity urgency dringlichkeit urgence urgencia urgenza urgentie"
    ),
    "created_at": (
        "createdat created createdtime createdon createddate createddatetime createdate creationdate creationtime "
        "datecreated timecreated ticketcreated openedat opened openedon opendate dateopened submittedat submitted "
        "submittedon submissiondate datesubmitted reportedat reporteddate receivedat datereceived receiveddate "
        "requestedat requested erstellt erstelltam erstellungsdatum angelegtam eingangsdatum eroffnetam creeele "
        "creele datedecreation datecreation creadoel fechadecreacion fechacreacion creado criadoem datadecriacao "
        "datacriacao dataabertura datadeabertura datadicreazione datacreazione creatoil aangemaaktop aangemaakt "
        "aanmaakdatum timestamp datetime date datum fecha data zeitstempel"
    ),
    "external_id": (
        "ticketid ticketnumber ticketno ticketnr ticketnum ticketref ticketkey issuekey casenumber caseid caseno "
        "incidentnumber incidentid requestid requestnumber complaintid externalid ticketnummer vorgangsnummer "
        "fallnummer anfragenummer vorgang nodeticket numerodeticket numeroticket nticket idticket iddeticket "
        "idduticket numeroduticket idchamado numerodochamado chamado protocolo ndeticket idtiquete nummerticket "
        "ticketnumero numerodelticket meldingsnummer id number issueid key nummer numero nr no num ticket caso "
        "incident reference ref referenz referencia referencenumber messageid uuid guid rowid recordid identifier "
        "kennung triageticketid"
    ),
}
_RANK = {
    field: {name: place for place, name in reversed(list(enumerate(names.split())))} for field, names in _NAMES.items()
}
_PREFIXES = ("ticket", "case", "issue", "incident", "support")
# A last resort: "Detailed description of the problem" is one, "Project description" is not.
_CONTAINED = {
    "subject": _set("subject betreff asunto assunto oggetto onderwerp"),
    "description": _set(
        "description body message narrative beschreibung descripcion descricao descrizione nachricht "
        "mensaje mensagem messaggio bericht"
    ),
    "priority": _set("priority"),
}
_DECOYS = _set(
    "project status state company category product account resolution satisfaction assignee agent internal answer "
    "reply response environment type workflow sla user job meta id date time count length language attachment "
    "organization group team role queue service solution error auto bot closing last url html link format size custom "
    "by name"
)
_PERSON = _set("fullname firstname lastname contactname jobtitle middlename surname")


class Columns(NamedTuple):
    """Where each of our fields stands (`fields`: field -> place), and the helpdesk it was recognised by, if any."""

    fields: dict[str, int]
    helpdesk: str = ""
    numbers: Mapping[str, str] = {}


def compact(header: str) -> str:
    """Return a header without case, accents, spaces and punctuation."""
    return plain(header).replace(" ", "")


def known(headers: Sequence[str]) -> int:
    """Return how many of these are names of our fields: no data has two of them in a row."""
    return len(_generic([compact(h) for h in headers], headers))


def has_text(fields: Mapping[str, int]) -> bool:
    """Tell whether there is anything to classify."""
    return "subject" in fields or "description" in fields


def matched(
    headers: Sequence[str],
    mapping: Mapping[str, str],
    closed: AbstractSet[str] = frozenset(),
    empty: AbstractSet[int] = frozenset(),
) -> Columns:
    """Return where our fields stand; `mapping` (field -> header) goes first, an empty header leaves a field out.

    `closed` are headers that only `mapping` may take. `empty` are the places of columns that hold nothing as far as
    was looked: one of them is taken for a field only where no other column can be. Raises UsageError for a field or a
    header that does not exist.
    """
    keys = ["" if header in closed else compact(header) for header in headers]
    desk = recognised(set(map(compact, headers)))
    taken = {field: _mapped(field, name, headers) for field, name in mapping.items()}
    used = {place for place in taken.values() if place is not None}
    fields = {field: place for field, place in taken.items() if place is not None}
    exact = {} if desk is None else _exact(keys, desk.fields, empty)
    for field, place in {**_generic(keys, headers, exact, empty), **exact}.items():
        if field not in taken and place not in used:
            fields[field] = place
            used.add(place)
    ordered = {field: fields[field] for field in FIELDS if field in fields}
    return Columns(ordered, desk.name, desk.numbers) if desk else Columns(ordered)


def _exact(keys: Sequence[str], names: Mapping[str, Sequence[str]], empty: AbstractSet[int]) -> dict[str, int]:
    """Return the fields that a helpdesk's own names find, the first of each field's that holds something."""
    found = {field: [keys.index(name) for name in listed if name in keys] for field, listed in names.items()}
    return {
        field: next((place for place in places if place not in empty), places[0])
        for field, places in found.items()
        if places
    }


def _mapped(field: str, name: str, headers: Sequence[str]) -> int | None:
    if field not in FIELDS:
        near = difflib.get_close_matches(field, FIELDS, 1, 0.5)
        raise UsageError(
            f"--map: there is no field “{field}”",
            hint=f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}",
        )
    if not name.strip():
        return None
    for form in (str, str.strip, compact):
        if form(name) in (options := [form(header) for header in headers]):
            return options.index(form(name))
    near = difflib.get_close_matches(name.casefold(), [h.casefold() for h in headers], 1, 0.5)
    listed = ", ".join(h.strip() or "(no name)" for h in headers)
    same = [h for h in headers if near and h.casefold() == near[0]]
    raise UsageError(
        f"--map {field}: the input has no column “{name}”",
        hint=f"did you mean “{same[0].strip()}”?" if same else f"its columns are {listed}",
    )


def _generic(
    keys: Sequence[str],
    headers: Sequence[str],
    exact: Mapping[str, int] | None = None,
    empty: AbstractSet[int] = frozenset(),
) -> dict[str, int]:
    """Return the fields that common words find, each column for one field."""
    fields: dict[str, int] = {}
    used = set((exact or {}).values())
    job = _job_title(keys)
    for field in _RANK:
        places = [p for p in range(len(keys)) if keys[p] and p not in used and p != job]
        place = _best(field, keys, headers, [p for p in places if p not in empty])
        if place is None:
            place = _best(field, keys, headers, places)
        if place is not None:
            fields[field] = place
            used.add(place)
    return fields


def _best(field: str, keys: Sequence[str], headers: Sequence[str], places: Sequence[int]) -> int | None:
    """Return which of these columns is most likely a field's."""
    ranked = [(rank, place) for place in places if (rank := _rank(keys[place], _RANK[field])) is not None]
    return min(ranked)[1] if ranked else _containing(field, headers, places)


def _rank(key: str, ranks: Mapping[str, int]) -> float | None:
    if key in ranks:
        return ranks[key]
    for prefix in _PREFIXES:
        if key.startswith(prefix) and (rank := ranks.get(key[len(prefix) :])) is not None:
            return rank + 0.5
    return None


def _job_title(keys: Sequence[str]) -> int | None:
    """Return the place of a `Title` that belongs to a person: beside an e-mail, or among the parts of a name."""
    if "title" not in keys:
        return None
    place = keys.index("title")
    beside = {*keys[max(place - 1, 0) : place], *keys[place + 1 : place + 2]}
    return place if not _PERSON.isdisjoint(keys) or "email" in beside else None


def _containing(field: str, headers: Sequence[str], places: Sequence[int]) -> int | None:
    names = _CONTAINED.get(field, frozenset())
    for place in places:
        header_words = set(plain(headers[place]).split())
        if header_words & names and header_words.isdisjoint(_DECOYS):
            return place
    return None
