"""The exports of six helpdesks: how each is recognised, its columns for the ticket fields, its priority numbers."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple


class Helpdesk(NamedTuple):
    """The columns of a helpdesk's export; names are compact (`createdat`).

    It is recognised by one column of each set in `needs`, and at least `marks_needed` columns of `marks`.
    """

    name: str
    needs: tuple[frozenset[str], ...]
    marks: frozenset[str]
    marks_needed: int
    fields: Mapping[str, tuple[str, ...]]
    numbers: Mapping[str, str] = {}


def _columns(column_names: str) -> frozenset[str]:
    return frozenset(column_names.split())


def _fields(**columns_by_field: str) -> dict[str, tuple[str, ...]]:
    return {ticket_field: tuple(column_names.split()) for ticket_field, column_names in columns_by_field.items()}


HELPDESKS = (
    Helpdesk(
        "servicenow",
        (_columns("shortdescription"), _columns("number taskeffectivenumber")),
        _columns(
            "callerid caller openedat opened openedby assignmentgroup sysid syscreatedon closecode incidentstate "
            "cmdbci configurationitem contacttype urgency closenotes"
        ),
        2,
        _fields(
            subject="shortdescription",
            description="description",
            customer_id="callerid caller openedby",
            priority="priority",
            created_at="openedat opened syscreatedon created",
            external_id="number",
        ),
        {"1": "urgent", "2": "high", "3": "normal", "4": "low", "5": "low"},
    ),
    Helpdesk(
        "jira",
        (_columns("summary"), _columns("issuekey issuetype")),
        _columns(
            "issuekey issueid issuetype projectkey projectname reporter assignee fixversions fixversion label labels "
            "components sprint acceptancecriteria storypoints epiclink"
        ),
        2,
        _fields(
            subject="summary",
            description="description",
            customer_id="reporterid reporter",
            priority="priority",
            created_at="created",
            external_id="issuekey issueid",
        ),
    ),
    Helpdesk(
        "freshdesk",
        (_columns("subject"), _columns("ticketid id")),
        _columns(
            "createdtime resolvedtime closedtime lastupdatetime duebytime initialresponsetime resolutionstatus "
            "firstresponsestatus contactid fullname frdueby frescalated responderid descriptiontext isescalated "
            "agentinteractions customerinteractions"
        ),
        3,
        _fields(
            subject="subject",
            description="descriptiontext description",
            customer_id="email requesterid contactid fullname",
            priority="priority",
            created_at="createdtime createdat",
            external_id="ticketid id",
        ),
        {"1": "low", "2": "normal", "3": "high", "4": "urgent"},
    ),
    Helpdesk(
        "zendesk",
        (_columns("subject ticketsubject rawsubject"), _columns("id ticketid")),
        _columns(
            "rawsubject submitterid brandid ticketformid satisfactionrating sharingagreementids hasincidents "
            "followerids requester requesterid requesterexternalid requesteremail requesterdomain requestername "
            "submitter submittername ticketform ticketbrand ticketgroup satisfactionscore initiallyassignedat "
            "groupstations assigneestations via tickettype ticketcreatedtimestamp assigneename"
        ),
        3,
        _fields(
            subject="subject ticketsubject rawsubject",
            description="description ticketdescription",
            customer_id="requesterid requesteremail requester requestername",
            priority="priority ticketpriority",
            created_at="createdat ticketcreatedtimestamp ticketcreateddate created",
            external_id="ticketid id",
        ),
    ),
    Helpdesk(
        "hubspot",
        (_columns("ticketname"),),
        _columns(
            "ticketid recordid pipeline ticketpipeline ticketstatus ticketowner ticketdescription ticketpriority "
            "createdate associatedcontact associatedcontactemail associatedcompany lastactivitydate"
        ),
        2,
        _fields(
            subject="ticketname",
            description="ticketdescription",
            customer_id="associatedcontactid associatedcontactids associatedcontactemail associatedcontact",
            priority="ticketpriority priority",
            created_at="createdate",
            external_id="ticketid recordid",
        ),
    ),
    Helpdesk(
        "otrs",
        (_columns("ticketnumber ticketnummer tn ticket numero numerodochamado chamado"), _columns("queue fila")),
        _columns(
            "ticketnumber ticketnummer age alter lock sperre owner besitzer customerid kundennummer firstlock "
            "firstresponse accountedtime articletree solutioninmin erstellt title from "
            "idade bloqueio proprietario iddocliente primeirobloqueio primeiraresposta tempocontabilizado "
            "arvoredeartigos solucaoemmin criado titulo de"
        ),
        3,
        _fields(
            subject="subject betreff assunto title titel titulo",
            description="articletree arvoredeartigos body corpo text texto beschreibung descricao observacoes",
            customer_id=(
                "customerid kundennummer iddocliente customeruser customeruserid usuariocliente from von de solicitante"
            ),
            priority="priority prioritat prioridade",
            created_at="created erstellt criado",
            external_id="ticketnumber ticketnummer tn ticket numerodochamado numero chamado",
        ),
        {"1": "low", "2": "low", "3": "normal", "4": "high", "5": "urgent"},
    ),
)


def recognised_helpdesk(column_names: AbstractSet[str]) -> Helpdesk | None:
    """Return the helpdesk whose export has these (compact) column names."""
    for helpdesk in HELPDESKS:
        if (
            all(needed_columns & column_names for needed_columns in helpdesk.needs)
            and len(helpdesk.marks & column_names) >= helpdesk.marks_needed
        ):
            return helpdesk
    return None
