"""Jira, GitHub and Linear: the rules of their issues."""

import json
import re
from typing import Any
from uuid import UUID

from tests.support.vendors.server import Answer, Call, RefusedError, Vendor, basic, is_text, leaves, need
from triage_cli import domain as dm

LISTED_AT = dm.now()  # of an issue, in a list: made and changed since a first pull begins


class Jira(Vendor):
    """developer.atlassian.com/cloud/jira/platform/rest/v3: api-group-issues, api-group-issue-search; apis/document."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.labels: dict[str, list[str]] = {}  # of issues that others have made, by their keys
        super().__init__()

    def answer(self, call: Call) -> Answer:
        need(call.headers.get("authorization") == basic("me@example.com", "jira-secret"), 401, "Basic auth required")
        if call.path == ("rest", "api", "3", "search", "jql"):
            return self._search(call)
        if call.path == ("rest", "api", "2", "search", "jql"):
            return self._list(call)
        if call.method == "PUT" and call.path[:4] == ("rest", "api", "2", "issue"):
            return self._edit(call)
        need(call.method == "POST" and call.path == ("rest", "api", "3", "issue"), 404, {"errorMessages": ["no path"]})
        fields = call.body["fields"] if isinstance(call.body, dict) and "fields" in call.body else {}
        labels = fields.get("labels", [])
        rules = {
            "project": fields.get("project") == {"key": "SUP"},
            "issuetype": fields.get("issuetype") in ({"name": "Task"}, {"name": "Bug"}),
            "summary": is_text(fields.get("summary"), 1, 255) and not re.search(r"[\r\n]", fields["summary"]),
            "labels": all(is_text(label, 1, 255) and not re.search(r"\s", label) for label in labels),
        }
        for name, held in rules.items():
            need(held, 400, {"errorMessages": [], "errors": {name: f"{name} is invalid"}})
        if "description" in fields:
            self._check(fields["description"], "doc")
            text = re.sub(r"\\u[0-9a-f]{4}", "?", json.dumps(fields["description"], ensure_ascii=False))
            need(is_text(text, 1, 32_767), 400, {"errorMessages": ["CONTENT_LIMIT_EXCEEDED"], "errors": {}})
        self.issues.append(fields)
        self.accepted.append(fields)
        number = len(self.issues)
        return Answer(201, {"id": str(10_000 + number), "key": f"SUP-{number}", "self": f"{self.root}/{number}"})

    def _search(self, call: Call) -> Answer:
        query = re.fullmatch(r'labels ?= ?"?([^"\s]+)"?', call.query.get("jql", ""))
        need(call.method == "GET" and query, 400, {"errorMessages": ["Unbounded JQL queries are not allowed here."]})
        assert query
        found = [n for n, fields in enumerate(self.issues, 1) if query[1] in fields["labels"]]
        return Answer(200, {"issues": [{"id": str(10_000 + n), "key": f"SUP-{n}"} for n in found], "isLast": True})

    def _edit(self, call: Call) -> Answer:
        """Add and remove labels: api-group-issues/#api-rest-api-3-issue-issueidorkey-put."""
        labels = self.labels.get(call.path[-1])
        need(labels is not None and len(call.path) == 5, 404, {"errorMessages": ["Issue does not exist"]})
        assert labels is not None
        for operation in call.body["update"]["labels"]:
            ((verb, label),) = operation.items()
            need(verb in ("add", "remove") and not re.search(r"\s", label), 400, {"errors": {"labels": "invalid"}})
            labels[:] = [each for each in labels if each != label] + ([label] if verb == "add" else [])
        return Answer(204)

    def write(self, subject: str, text: str) -> None:
        """A person makes an issue."""
        self.issues.append({"summary": subject, "description": text, "labels": []})

    def _list(self, call: Call) -> Answer:
        """Return all issues, with no field that is not asked for; version 2 writes a document as text."""
        names = call.query["fields"].split(",")
        issues = []
        for number, made in enumerate(self.issues, 1):
            issue = {**made, "created": LISTED_AT, "updated": LISTED_AT}
            issue["description"] = "\n".join(leaves(issue["description"]))
            fields = {name: issue[name] for name in names if name in issue}
            issues.append({"id": str(10_000 + number), "key": f"SUP-{number}", "fields": fields})
        return Answer(200, {"issues": issues, "isLast": True})

    def _check(self, node: Any, kind: str) -> None:
        """Refuse what is no document of Atlassian's format."""
        good = isinstance(node, dict) and node.get("type") == kind
        need(good and (kind != "doc" or node.get("version") == 1), 400, {"errorMessages": ["INVALID_INPUT"]})
        for inner in node.get("content", []):
            if inner.get("type") == "mention":
                self.pings.append(str(inner))
            if inner.get("type") == "text":
                need(is_text(inner.get("text"), 1, 32_767), 400, {"errorMessages": ["INVALID_INPUT"]})
            else:
                need(kind == "doc" and inner.get("type") in ("paragraph", "codeBlock"), 400, "INVALID_INPUT")
                self._check(inner, inner["type"])


class GitHub(Vendor):
    """docs.github.com/en/rest: issues/issues#create-an-issue, search/search#search-issues-and-pull-requests."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.labels: dict[str, list[str]] = {}  # of issues that others have made, by their numbers
        super().__init__()

    @property
    def url(self) -> str:
        return f"{self.root}/repos/acme/shop"

    def answer(self, call: Call) -> Answer:
        need(call.headers.get("authorization") == "Bearer github-secret", 401, {"message": "Bad credentials"})
        need(call.headers.get("user-agent"), 403, "Request forbidden by administrative rules: no User-Agent")
        if call.path == ("search", "issues"):
            return self._search(call)
        if call.path[4:5] and call.path[5:6] == ("labels",):
            return self._label(call)
        need(call.path == ("repos", "acme", "shop", "issues"), 404, {"message": "Not Found"})
        if call.method == "GET":
            return Answer(200, [self._issue(n) for n in range(1, len(self.issues) + 1)])
        body = call.body if isinstance(call.body, dict) else {}
        rules = {
            "title": is_text(body.get("title"), 1, 256),
            "body": is_text(body.get("body", ""), 0, 65_536),
            "labels": all(is_text(label, 1, 50) for label in body.get("labels", [])),
        }
        for name, held in rules.items():
            need(held, 422, {"message": "Validation Failed", "errors": [{"resource": "Issue", "field": name}]})
        for line in re.split(r"\r\n|\r|\n", body.get("body", "")):
            if not line.startswith("    "):  # a line of a code block
                self.pings += re.findall(r"@\w+", line)
        self.issues.append(body)
        self.accepted.append(body)
        return Answer(201, self._issue(len(self.issues)))

    def _label(self, call: Call) -> Answer:
        """Add labels, or remove one: issues/labels#add-labels-to-an-issue, #remove-a-label-from-an-issue."""
        labels = self.labels.get(call.path[4])
        need(labels is not None, 404, {"message": "Not Found"})
        assert labels is not None
        if call.method == "DELETE":
            if call.path[6] not in labels:
                return Answer(404, {"message": "Label does not exist"})
            labels.remove(call.path[6])
        else:
            names = call.body.get("labels") if isinstance(call.body, dict) else None
            need(
                call.method == "POST" and isinstance(names, list) and names and all(is_text(n, 1, 50) for n in names),
                422, {"message": "Validation Failed"},
            )  # fmt: skip
            self.accepted.append(call.body)
            labels += [label for label in call.body["labels"] if label not in labels]
        return Answer(200, [{"name": label} for label in labels])

    def _issue(self, number: int) -> dict[str, Any]:
        page = f"https://github.com/acme/shop/issues/{number}"
        made = {"user": {"login": "bot"}, "created_at": LISTED_AT, "updated_at": LISTED_AT, "state": "open"}
        return {"id": 7000 + number, "number": number, "html_url": page, **made, **self.issues[number - 1]}

    def write(self, subject: str, text: str) -> None:
        """A person makes an issue."""
        self.issues.append({"title": subject, "body": text, "labels": []})

    def _search(self, call: Call) -> Answer:
        query = re.fullmatch(r'"([\w.-]+)" in:body is:issue', call.query.get("q", ""))
        need(call.method == "GET" and query, 422, {"message": "Validation Failed"})
        assert query
        found = [n for n, issue in enumerate(self.issues, 1) if query[1] in (issue.get("body") or "")]
        return Answer(200, {"total_count": len(found), "items": [self._issue(n) for n in found]})


class GitHubIssue(GitHub):
    """Its issue 41, which somebody has labelled; of others nobody may know."""

    def __init__(self) -> None:
        super().__init__()
        self.labels = {"41": ["vip"]}


class Linear(Vendor):
    """linear.app/developers: graphql, rate-limiting; the schema's `IssueCreateInput`. Errors come with status 200."""

    team = "9cfb482a-81e3-4154-b5b9-2c805e70a02d"

    def __init__(self) -> None:
        self.issues: dict[str, Any] = {}
        super().__init__()

    @property
    def url(self) -> str:
        return f"{self.root}/graphql"

    def throttled(self) -> Answer:
        return Answer(400, self._errors("Rate limit exceeded", "RATELIMITED"), {"retry-after": "0"})

    def answer(self, call: Call) -> Answer:
        need(call.method == "POST" and call.path == ("graphql",), 404, "Not Found")
        wrong = self._errors("Remove the Bearer prefix from the Authorization header", "AUTHENTICATION_ERROR")
        need(call.headers.get("authorization") == "linear-secret", 401, wrong)
        need(isinstance(call.body, dict) and isinstance(call.body.get("query"), str), 400, self._errors("no query"))
        query, variables = re.sub(r"\s+", " ", call.body["query"]), call.body.get("variables", {})
        if re.search(r"mutation ?\w* ?\(\$input: ?IssueCreateInput!\) ?\{ ?issueCreate\(input: ?\$input\)", query):
            return self._create(variables.get("input", {}))
        search = r"query ?\w* ?\(\$id: ?ID!\) ?\{ ?issues\(filter: ?\{id: ?\{eq: ?\$id\}\}, includeArchived: ?true\)"
        need(re.search(search, query), 400, self._errors("GRAPHQL_VALIDATION_FAILED"))
        known = self.issues.get(variables.get("id"))
        return Answer(200, {"data": {"issues": {"nodes": [known] if known else []}}})

    def _create(self, issue: Any) -> Answer:
        need(issue.get("teamId") == self.team, 200, self._errors("Argument Validation Error: teamId"))
        need(is_text(issue.get("title"), 1, 255), 200, self._errors("Argument Validation Error: title"))
        need(is_text(issue.get("description", ""), 0, 100_000), 200, self._errors("Argument Validation Error"))
        need(issue.get("priority", 0) in range(5), 200, self._errors("Argument Validation Error: priority"))
        name = issue.get("id")
        try:
            need(UUID(name).version == 4, 200, self._errors("Argument Validation Error: id must be a UUID"))
        except ValueError as error:
            raise RefusedError(200, self._errors("Argument Validation Error: id must be a UUID")) from error
        need(name not in self.issues, 200, self._errors("conflict on insert of Issue: Entity already exists"))
        for line in re.split(r"\r\n|\r|\n", issue.get("description", "")):
            if not line.startswith("    "):
                self.pings += re.findall(r"@\w+", line)
        number = len(self.issues) + 1
        self.issues[name] = {"id": name, "identifier": f"ENG-{number}", "url": f"https://linear.app/ENG-{number}"}
        self.accepted.append(issue)
        return Answer(200, {"data": {"issueCreate": {"success": True, "issue": self.issues[name]}}})

    @staticmethod
    def _errors(message: str, code: str = "INPUT_ERROR") -> Any:
        return {"errors": [{"message": message, "extensions": {"code": code}}], "data": None}
