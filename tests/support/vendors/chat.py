"""Slack, Teams and Discord: their incoming webhooks' rules."""

import re
from typing import Any, ClassVar

from tests.support.vendors.server import Answer, Call, RefusedError, Vendor, is_text, leaves, need


class Slack(Vendor):
    """docs.slack.dev: messaging/sending-messages-using-incoming-webhooks, reference/block-kit/blocks."""

    path = "/services/T0/B0/slack-secret"
    texts: ClassVar[dict[str, Any]] = {"header": (150, ("plain_text",)), "section": (3000, ("plain_text", "mrkdwn"))}

    @property
    def url(self) -> str:
        return self.root + self.path

    def answer(self, call: Call) -> Answer:
        need("/" + "/".join(call.path) == self.path, 404, "no_service")
        need(call.method == "POST" and isinstance(call.body, dict), 400, "invalid_payload")
        text, blocks = call.body.get("text"), call.body.get("blocks", [])
        need(text or blocks, 400, "no_text")
        need(text is None or is_text(text, 1, 40_000), 400, "msg_too_long")
        need(isinstance(blocks, list) and len(blocks) <= 50, 400, "invalid_blocks")
        for block in blocks:
            self._check(block)
        for leaf in leaves(call.body):  # whatever is not escaped is parsed
            self.pings += re.findall(r"<[!@#]\S*", leaf)
        self.accepted.append(call.body)
        return Answer(200, "ok")

    def _check(self, block: Any) -> None:
        need(isinstance(block, dict), 400, "invalid_blocks")
        if block.get("type") == "context":
            found = block.get("elements")
            need(isinstance(found, list) and 1 <= len(found) <= 10, 400, "invalid_blocks")
            most, kinds = self.texts["section"]
        else:
            need(block.get("type") in self.texts, 400, "invalid_blocks")
            most, kinds = self.texts[block["type"]]
            found = [block.get("text")]
        for text in found:
            need(isinstance(text, dict) and text.get("type") in kinds, 400, "invalid_blocks")
            need(is_text(text.get("text"), 1, most), 400, "invalid_blocks")


class Teams(Vendor):
    """learn.microsoft.com: connectors/teams (28 KB), adaptive-cards/schema-explorer."""

    @property
    def url(self) -> str:
        return f"{self.root}/workflows/1/triggers/manual/paths/invoke?api-version=2016-06-01&sig=teams-secret"

    def answer(self, call: Call) -> Answer:
        need(
            call.query.get("sig") == "teams-secret" and call.method == "POST", 401, {"error": {"code": "Unauthorized"}}
        )
        need(call.size <= 28 * 1024, 413, {"error": {"code": "RequestEntityTooLarge"}})
        try:
            need(call.body["type"] == "message", 400, "type")
            (attachment,) = call.body["attachments"]
            need(attachment["contentType"] == "application/vnd.microsoft.card.adaptive", 400, "contentType")
            card = attachment["content"]
            need(card["type"] == "AdaptiveCard" and re.fullmatch(r"1\.\d", card["version"]), 400, "card")
            need(card["body"], 400, "body")
            for element in card["body"]:
                self._check(element)
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(400, str(error)) from error
        self.pings += [entity["text"] for entity in card.get("msteams", {}).get("entities", [])]
        self.accepted.append(call.body)
        return Answer(202)

    def _check(self, element: Any) -> None:
        if element["type"] == "RichTextBlock":  # no Markdown in it
            for run in element["inlines"]:
                need(run["type"] == "TextRun" and isinstance(run["text"], str), 400, "TextRun")
            return
        need(element["type"] == "TextBlock" and is_text(element["text"], 1, 28_000), 400, element["type"])
        self.pings += re.findall(r"\[[^\]]*\]\([^)]*\)", element["text"])  # links that hide where they lead


class Discord(Vendor):
    """discord.com/developers/docs/resources: webhook#execute-webhook, message#embed-object-embed-limits."""

    path = "/api/webhooks/1/discord-secret"

    @property
    def url(self) -> str:
        return self.root + self.path

    def answer(self, call: Call) -> Answer:
        need("/" + "/".join(call.path) == self.path, 401, {"message": "Invalid Webhook Token", "code": 50027})
        need(call.method == "POST" and isinstance(call.body, dict), 400, {"code": 50109})
        content, embeds = call.body.get("content", ""), call.body.get("embeds", [])
        need(content or embeds, 400, {"message": "Cannot send an empty message", "code": 50006})
        need(is_text(content, 0, 2000) and len(embeds) <= 10, 400, {"code": 50035})
        total = 0
        for embed in embeds:
            for name, most in {"title": 256, "description": 4096}.items():
                need(name not in embed or is_text(embed[name], 1, most), 400, {"code": 50035, "field": name})
                total += len(embed.get(name, ""))
        need(total <= 6000, 400, {"code": 50035})
        if "everyone" in call.body.get("allowed_mentions", {"parse": ["everyone"]}).get("parse", ["everyone"]):
            self.pings += re.findall(r"@everyone|@here|<@[^>]*>", content)
        for text in (content, *(embed.get("description", "") for embed in embeds)):
            self.pings += re.findall(r"\[[^\]]*\]\([^)]*\)", text)  # links that hide where they lead
        self.accepted.append(call.body)
        number = str(len(self.accepted))
        return Answer(200, {"id": number, "content": content}) if call.query.get("wait") == "true" else Answer(204)
