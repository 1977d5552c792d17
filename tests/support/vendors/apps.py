"""Graph, Salesforce, Help Scout and Google Chat: what they answer to programs that come with access tokens."""

import re
from typing import Any, ClassVar

from tests.support.token_server import TokenServer
from tests.support.vendors.server import Answer, Call, Vendor, is_text, need

NUMBER = 7  # items of a list, in pages of three


def dated(number: int) -> str:
    return f"2026-11-20T08:{number:02}:00Z"


class App(Vendor):
    """A vendor's API behind a token server; `tokens` judges what comes."""

    refused: ClassVar[Any] = {"error": "unauthorized"}

    def __init__(self, tokens: TokenServer) -> None:
        self.tokens = tokens
        super().__init__()

    def answer(self, call: Call) -> Answer:
        need(self.tokens.accepts(call.headers.get("authorization", "")), 401, self.refused)
        return self.authorized(call)

    def authorized(self, call: Call) -> Answer:
        raise NotImplementedError


class Graph(App):
    """learn.microsoft.com/graph/api: user-list-messages, user-sendmail; graph/errors."""

    refused: ClassVar[Any] = {"error": {"code": "InvalidAuthenticationToken", "message": "Lifetime validation failed"}}

    def authorized(self, call: Call) -> Answer:
        need(call.path[:3] == ("v1.0", "users", "support@example.com"), 404, {"error": {"code": "ResourceNotFound"}})
        if call.path[3:] == ("sendMail",):
            return self._send(call)
        need(call.path[3:] == ("mailFolders", "inbox", "messages"), 404, {"error": {"code": "ResourceNotFound"}})
        query = call.query
        filtered = re.fullmatch(r"(\w+) ge (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)", query.get("$filter", ""))
        need(filtered, 400, {"error": {"code": "BadRequest", "message": "Invalid filter clause"}})
        assert filtered
        order = query.get("$orderby", "").split(" ")
        complex_ = {"error": {"code": "InefficientFilter", "message": "The restriction or sort order is too complex"}}
        need(order[0] == filtered[1], 400, complex_)
        need(1 <= int(query.get("$top", "10")) <= 1000, 400, {"error": {"code": "BadRequest"}})
        skip, names = int(query.get("$skip", "0")), query["$select"].split(",")
        messages = [self._message(n) for n in range(NUMBER) if dated(n) >= filtered[2]]
        page = [{key: m[key] for key in ("id", *names)} for m in messages[skip : skip + 3]]
        following = "&".join(f"{k}={v}" for k, v in {**query, "$skip": str(skip + 3)}.items()).replace(" ", "%20")
        link = f"{self.root}/{'/'.join(call.path)}?{following}"
        return Answer(200, {"value": page, **({"@odata.nextLink": link} if skip + 3 < len(messages) else {})})

    def _message(self, number: int) -> dict[str, Any]:
        return {
            "id": f"AAMk{number}", "subject": f"Invoice {number}", "receivedDateTime": dated(number),
            "body": {"contentType": "text", "content": f"I was charged twice, number {number}"},
            "from": {"emailAddress": {"name": "C", "address": f"c{number}@example.org"}},
            "internetMessageId": f"<{number}@example.org>", "conversationId": f"AAQ{number}",
        }  # fmt: skip

    def _send(self, call: Call) -> Answer:
        need(call.method == "POST" and isinstance(call.body, dict), 400, {"error": {"code": "BadRequest"}})
        invalid = {"error": {"code": "ErrorInvalidRecipients"}}
        message = call.body.get("message", {})
        need(call.body.keys() <= {"message", "saveToSentItems"}, 400, {"error": {"code": "RequestBodyRead"}})
        need(
            message.get("body", {}).get("contentType") in ("Text", "HTML"), 400, {"error": {"code": "RequestBodyRead"}}
        )
        recipients = message.get("toRecipients") or []
        need(recipients and all("@" in each["emailAddress"]["address"] for each in recipients), 400, invalid)
        self.accepted.append(call.body)
        return Answer(202)


class Salesforce(App):
    """developer.salesforce.com/docs, api_rest: dome_query, dome_sobject_retrieve, dome_update_fields."""

    refused: ClassVar[Any] = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    fields: ClassVar[set[str]] = {
        "Id", "CaseNumber", "Subject", "Description", "Priority", "SuppliedEmail", "CreatedDate", "LastModifiedDate",
        "Triage_Category__c",
    }  # fmt: skip

    def __init__(self, tokens: TokenServer) -> None:
        self.cases: dict[str, dict[str, Any]] = {
            f"500A{n:014}": {
                "Id": f"500A{n:014}", "CaseNumber": f"{1000 + n:08}", "Subject": f"Invoice {n}", "Priority": "High",
                "Description": f"I was charged twice, number {n}", "SuppliedEmail": f"c{n}@example.org",
                "CreatedDate": f"2026-11-20T08:{n:02}:00.000+0000", "Triage_Category__c": None,
                "LastModifiedDate": f"2026-11-20T08:{n:02}:00.000+0000",
            }
            for n in range(NUMBER)
        }  # fmt: skip
        super().__init__(tokens)

    def authorized(self, call: Call) -> Answer:
        need(call.path[:3] == ("services", "data", "v62.0"), 404, self._error("NOT_FOUND"))
        if call.path[3] == "query":
            return self._query(call)
        need(call.path[3:5] == ("sobjects", "Case"), 404, self._error("NOT_FOUND"))
        case = self.cases.get(call.path[5])
        need(case, 404, self._error("NOT_FOUND"))
        assert case
        if call.method == "GET":
            names = call.query["fields"].split(",")
            need(set(names) <= self.fields, 400, self._error("INVALID_FIELD"))
            return Answer(200, {"attributes": {"type": "Case"}, **{name: case[name] for name in (*names, "Id")}})
        need(call.method == "PATCH" and isinstance(call.body, dict), 405, self._error("METHOD_NOT_ALLOWED"))
        need(call.body.keys() <= self.fields - {"Id"}, 400, self._error("INVALID_FIELD"))
        need(all(is_text(value, 0, 255) for value in call.body.values()), 400, self._error("STRING_TOO_LONG"))
        case |= call.body
        self.accepted.append(call.body)
        return Answer(204)

    def _query(self, call: Call) -> Answer:
        if len(call.path) == 5:
            begin = int(call.path[4].rpartition("-")[2])
            return self._records([*self.cases.values()], begin)
        asked = re.fullmatch(
            r"SELECT ([\w, ]+) FROM Case WHERE LastModifiedDate >= (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) "
            r"ORDER BY LastModifiedDate, Id",
            call.query.get("q", ""),
        )
        need(asked, 400, self._error("MALFORMED_QUERY"))
        assert asked
        need(set(asked[1].split(", ")) <= self.fields, 400, self._error("INVALID_FIELD"))
        found = [case for case in self.cases.values() if case["LastModifiedDate"][:19] >= asked[2][:19]]
        return self._records(found, 0)

    def _records(self, found: list[dict[str, Any]], begin: int) -> Answer:
        records = [{"attributes": {"type": "Case"}, **case} for case in found[begin : begin + 3]]
        more = {"nextRecordsUrl": f"/services/data/v62.0/query/01gRO-{begin + 3}"} if begin + 3 < len(found) else {}
        return Answer(200, {"totalSize": len(found), "done": not more, "records": records, **more})

    @staticmethod
    def _error(code: str) -> Any:
        return [{"message": code.lower(), "errorCode": code}]


class HelpScout(App):
    """developer.helpscout.com/mailbox-api: conversations/list, threads/list, threads/note. Lists are HAL."""

    refused: ClassVar[Any] = {"error": "invalid_token", "error_description": "Invalid access token"}

    def __init__(self, tokens: TokenServer) -> None:
        self.notes: dict[str, list[str]] = {str(n): [] for n in range(NUMBER)}
        super().__init__(tokens)

    def authorized(self, call: Call) -> Answer:
        need(call.path[:2] == ("v2", "conversations"), 404, {"message": "Not found"})
        if len(call.path) == 2:
            return self._list(call)
        need(call.path[2] in self.notes and len(call.path) == 4, 404, {"message": "Not found"})
        if call.path[3] == "threads":
            return Answer(200, {"_embedded": {"threads": self._threads(int(call.path[2]))}})
        need((call.method, call.path[3]) == ("POST", "notes"), 405, {"message": "Method not allowed"})
        need(is_text(call.body.get("text"), 1, 100_000), 400, {"message": "Bad request", "_embedded": {"errors": []}})
        self.notes[call.path[2]].insert(0, call.body["text"])
        self.accepted.append(call.body)
        return Answer(201)

    def _list(self, call: Call) -> Answer:
        query = call.query
        need(query.get("status") in ("active", "all", "closed", "open", "pending", "spam"), 400, {"message": "status"})
        need(query.get("sortField") in ("createdAt", "modifiedAt"), 400, {"message": "sortField"})
        need(query.get("sortOrder") in ("asc", "desc"), 400, {"message": "sortOrder"})
        page = int(query.get("page", "1"))
        found = [n for n in range(NUMBER) if dated(n) >= query.get("modifiedSince", "")]
        shown = found[3 * page - 3 : 3 * page]
        conversations = [
            {
                "id": n, "number": 100 + n, "subject": f"Invoice {n}", "status": "active", "createdAt": dated(n),
                "userUpdatedAt": dated(n), "primaryCustomer": {"id": n, "email": f"c{n}@example.org"},
                "tags": [{"id": 1, "tag": "vip"}], "_embedded": {"threads": self._threads(n)},
            }
            for n in shown
        ]  # fmt: skip
        arguments = "&".join(f"{key}={value}" for key, value in {**query, "page": str(page + 1)}.items())
        links = {"next": {"href": f"{self.root}/v2/conversations?{arguments}"}} if 3 * page < len(found) else {}
        embedded = {"_embedded": {"conversations": conversations}} if conversations else {}
        return Answer(200, {**embedded, "_links": links, "page": {"number": page, "size": 3}})

    def _threads(self, number: int) -> list[dict[str, Any]]:
        notes = [{"type": "note", "body": text} for text in self.notes[str(number)]]
        answer = {"type": "message", "body": "<p>We look into it.</p>"}
        return [*notes, answer, {"type": "customer", "body": f"<p>I was charged twice, number {number}</p>"}]


class GoogleChat(Vendor):
    """developers.google.com/workspace/chat: quickstart/webhooks, format-messages; rest/v1/spaces.messages/create."""

    @property
    def url(self) -> str:
        return f"{self.root}/v1/spaces/AAA/messages?key=chat-secret-key&token=chat-secret-token"

    def answer(self, call: Call) -> Answer:
        known = call.query.get("key") == "chat-secret-key" and call.query.get("token") == "chat-secret-token"
        need(known and call.path == ("v1", "spaces", "AAA", "messages"), 401, {"error": {"status": "UNAUTHENTICATED"}})
        invalid = {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}
        need(call.method == "POST" and isinstance(call.body, dict), 400, invalid)
        need(call.body.keys() <= {"text", "cardsV2", "thread"}, 400, invalid)
        need(is_text(call.body.get("text"), 1, 32_000) and call.size <= 32_000, 400, invalid)
        self.pings += re.findall(r"<[^>]*>", call.body["text"])
        self.accepted.append(call.body)
        return Answer(200, {"name": "spaces/AAA/messages/B", **call.body})
