"""The words by which the header of a column names a ticket field, in ten languages."""

from triage_cli.readers.cell_values import plain


def _header_set(header_names: str) -> frozenset[str]:
    return frozenset(header_names.split())


# Compact names, the best first. `verdict` has none, because a person's decision is only read if --map says so.
HEADER_NAMES = {
    "subject": (
        "subject ticketsubject subjectline rawsubject emailsubject summary shortdescription ticketname tickettitle "
        "betreff asunto assunto objet oggetto onderwerp title titel titre titulo titolo sujet kurzbeschreibung "
        "headline heading thema resume resumen resumo riassunto riepilogo samenvatting zusammenfassung taskname "
        "cardname issue "
        "件名 題名 表題 標題 タイトル チケット名 簡単な説明 要約 概要 主题 標題 标题 主題 工单标题 问题标题 "
        "简短描述 摘要 제목 요약 간단한설명"
    ),
    "description": (
        "description ticketdescription descriptiontext fulldescription longdescription body messagebody ticketbody "
        "bodytext plainbody content message messagetext text details detail beschreibung nachricht inhalt descripcion "
        "mensaje cuerpo contenido descricao mensagem corpo conteudo descrizione messaggio testo contenuto corps "
        "contenu texte beschrijving omschrijving bericht inhoud tekst texto problem problemdescription probleme "
        "problema complaint consumercomplaintnarrative narrative inquiry enquiry question query frage pregunta "
        "pergunta domanda vraag request customerservice comment comments firstcomment kommentar commentaire "
        "comentario commento feedback verbatim utterance instruction prompt notes note observacoes "
        "observacao observaciones problembeschreibung fehlerbeschreibung anliegen "
        "説明 詳細な説明 本文 問い合わせ内容 お問い合わせ内容 問合せ内容 お問合せ内容 質問内容 依頼内容 内容 "
        "詳細 メッセージ コメント 備考 描述 详细描述 問題描述 问题描述 内容 內容 正文 邮件内容 反馈内容 "
        "咨询内容 投诉内容 详情 詳情 说明 說明 消息 备注 備註 설명 상세설명 내용 본문 문의내용 요청내용 "
        "상세내용 메시지 비고"
    ),
    "customer_id": (
        "customerid customernumber customerno clientid clientnumber requesterid callerid contactid userid accountid "
        "customerref kundennummer kundennr kundenid idcliente iddocliente clienteid codigocliente numeroclient "
        "idclient codicecliente klantnummer klantid customeremail customeremailaddress requesteremail clientemail "
        "contactemail useremail associatedcontactemail senderemail fromemail email emailaddress mail kundenemail "
        "customer requester caller client cliente kunde klant aanvrager anfragender solicitante demandeur richiedente "
        "sender from absender customercode fromaddress vonadresse anrufer emailadresse adresseemail indirizzoemail "
        "direcciondecorreoelectronico correoelectronico enderecodeemail emailadres "
        "顧客id 顧客番号 顧客コード お客様番号 お客様id 会員番号 会員id リクエスタ リクエスター 依頼者 "
        "要求者 起票者 報告者 呼び出し元 メールアドレス 顧客 お客様 送信者 差出人 客户id 客户编号 用户id "
        "用户编号 客户邮箱 客户 请求者 请求人 申请人 提交人 报告人 来电者 电子邮件 电子邮箱 邮箱 发件人 "
        "客戶id 客戶編號 客戶 請求者 電子郵件 寄件者 고객id 고객번호 회원번호 요청자 요청자이메일 신고자 "
        "보고자 고객 이메일 이메일주소 발신자 보낸사람"
    ),
    "priority": (
        "priority ticketpriority prio prioritat priorite prioridad prioridade priorita prioriteit actualpriority "
        "prioritylevel priorityname severity urgency dringlichkeit urgence urgencia urgenza urgentie "
        "優先度 優先順位 緊急度 重要度 重大度 优先级 優先級 优先权 优先程度 紧急程度 緊急程度 紧急度 "
        "严重程度 우선순위 긴급도 중요도 심각도"
    ),
    "created_at": (
        "createdat created createdtime createdon createddate createddatetime createdate creationdate creationtime "
        "datecreated timecreated ticketcreated openedat opened openedon opendate dateopened submittedat submitted "
        "submittedon submissiondate datesubmitted reportedat reporteddate receivedat datereceived receiveddate "
        "requestedat requested erstellt erstelltam erstellungsdatum angelegtam eingangsdatum eroffnetam creeele "
        "creele datedecreation datecreation creadoel fechadecreacion fechacreacion creado criadoem datadecriacao "
        "datacriacao dataabertura datadeabertura datadicreazione datacreazione creatoil aangemaaktop aangemaakt "
        "aanmaakdatum timestamp datetime date datum fecha data zeitstempel erstellungszeit "
        "geoffnet ouvert horodateur marcatemporal carimbodedatahora informazionicronologiche tijdstempel "
        "eingang eingangsdatum eingangszeit eingangszeitpunkt eingegangenam eingegangen erfasstam erfasst "
        "meldedatum meldezeit recibidoel fechaderecepcion recule datedereception ricevutoil recebidoem ontvangenop "
        "作成日時 作成日 登録日時 登録日 受付日時 受付日 起票日時 起票日 リクエスト日時 リクエスト日 "
        "問い合わせ日時 問い合わせ日 受信日時 受信日 申請日時 発生日時 日時 日付 タイムスタンプ 创建时间 "
        "创建日期 创建于 提交时间 提交日期 请求时间 受理时间 登记时间 申请时间 打开时间 日期 时间 建立時間 "
        "建立日期 創建時間 提交時間 時間 생성일시 생성일 생성시간 작성일시 작성일 등록일시 등록일 접수일시 "
        "접수일 요청일시 요청일 문의일시 만든날짜 일시 날짜 타임스탬프"
    ),
    "external_id": (
        "ticketid ticketnumber ticketno ticketnr ticketnum ticketref ticketkey issuekey casenumber caseid caseno "
        "incidentnumber incidentid requestid requestnumber complaintid externalid ticketnummer vorgangsnummer "
        "vorgangsnr fallnummer fallnr anfragenummer anfragenr vorgang "
        "nodeticket numerodeticket numeroticket nticket idticket iddeticket "
        "idduticket numeroduticket idchamado numerodochamado chamado protocolo ndeticket idtiquete nummerticket "
        "ticketnumero numerodelticket meldingsnummer id number issueid key nummer numero nr no num ticket caso "
        "incident reference ref referenz referencia referencenumber messageid uuid guid rowid recordid identifier "
        "kennung vorgangsschlussel cledeticket clavedeincidencia triageticketid aktenzeichen storungsnummer "
        "meldungsnummer チケット番号 チケットid 課題キー 課題id ケース番号 インシデント番号 リクエスト番号 "
        "受付番号 問い合わせ番号 お問い合わせ番号 案件番号 依頼番号 管理番号 整理番号 番号 キー 工单编号 "
        "工单号 工单id 工單編號 工單號 案例编号 案件編號 事件编号 请求编号 问题编号 编号 單號 单号 編號 "
        "티켓번호 티켓id 접수번호 문의번호 요청번호 이슈키 케이스번호 관리번호 번호 키"
    ),
}
HEADER_RANKS = {
    ticket_field: {
        header_name if header_name.isascii() else plain(header_name): rank
        for rank, header_name in reversed(list(enumerate(header_names.split())))
    }
    for ticket_field, header_names in HEADER_NAMES.items()
}
HEADER_PREFIXES = ("ticket", "case", "issue", "incident", "support", *map(plain, ("チケット", "工单", "工單", "티켓")))
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
