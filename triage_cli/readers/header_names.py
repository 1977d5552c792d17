"""The words by which the header of a column names a ticket field, in seven languages."""


def _header_set(header_names: str) -> frozenset[str]:
    return frozenset(header_names.split())


# Compact names, the best first. `verdict` has none, because a person's decision is only read if --map says so.
HEADER_NAMES = {
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
        "sender from absender customercode fromaddress vonadresse anrufer emailadresse adresseemail indirizzoemail "
        "direcciondecorreoelectronico correoelectronico enderecodeemail emailadres"
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
        "aanmaakdatum timestamp datetime date datum fecha data zeitstempel erstellungszeit "
        "geoffnet ouvert horodateur marcatemporal carimbodedatahora informazionicronologiche tijdstempel"
    ),
    "external_id": (
        "ticketid ticketnumber ticketno ticketnr ticketnum ticketref ticketkey issuekey casenumber caseid caseno "
        "incidentnumber incidentid requestid requestnumber complaintid externalid ticketnummer vorgangsnummer "
        "vorgangsnr fallnummer fallnr anfragenummer anfragenr vorgang "
        "nodeticket numerodeticket numeroticket nticket idticket iddeticket "
        "idduticket numeroduticket idchamado numerodochamado chamado protocolo ndeticket idtiquete nummerticket "
        "ticketnumero numerodelticket meldingsnummer id number issueid key nummer numero nr no num ticket caso "
        "incident reference ref referenz referencia referencenumber messageid uuid guid rowid recordid identifier "
        "kennung vorgangsschlussel cledeticket clavedeincidencia triageticketid"
    ),
}
HEADER_RANKS = {
    ticket_field: {header_name: rank for rank, header_name in reversed(list(enumerate(header_names.split())))}
    for ticket_field, header_names in HEADER_NAMES.items()
}
HEADER_PREFIXES = ("ticket", "case", "issue", "incident", "support")
# Words in a longer header, as a last resort: "Detailed description of the problem" matches, "Project description" does
# not, because of `OTHER_HEADER_WORDS`.
HEADER_WORDS = {
    "subject": _header_set("subject betreff asunto assunto oggetto onderwerp"),
    "description": _header_set(
        "description body message narrative beschreibung descripcion descricao descrizione nachricht "
        "mensaje mensagem messaggio bericht"
    ),
    "priority": _header_set("priority"),
}
OTHER_HEADER_WORDS = _header_set(
    "project status state company category product account resolution satisfaction assignee agent internal answer "
    "reply response environment type workflow sla user job meta id date time count length language attachment "
    "organization group team role queue service solution error auto bot closing last url html link format size custom "
    "by name"
)
# Beside these, a `Title` is a person's.
PERSON_HEADERS = _header_set("fullname firstname lastname contactname jobtitle middlename surname")
