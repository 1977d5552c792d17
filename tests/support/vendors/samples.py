"""What a user writes for each preset, with the vendor's stub in the vendor's place."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.support.vendors.chat import Discord, Slack, Teams
from tests.support.vendors.helpdesks import Freshdesk, ServiceNow, Zammad, Zendesk
from tests.support.vendors.paging import Opsgenie, PagerDuty
from tests.support.vendors.server import Vendor
from tests.support.vendors.trackers import GitHub, GitHubIssue, Jira, Linear


class Sample(NamedTuple):
    """A preset's keys beside `type` and `preset`, and the variables that they name; URL is the stub's address."""

    vendor: type[Vendor]
    keys: str
    env: Mapping[str, str] = {}

    def config(self, preset: str, vendor: Vendor) -> str:
        """Return a configuration of one destination, `out`, that gets every ticket."""
        keys = self.keys.replace("URL", vendor.url)
        return f"destinations:\n  out: {{type: http, preset: {preset}, {keys}}}\nroutes: [{{to: out}}]\n"

    def variables(self, vendor: Vendor) -> dict[str, str]:
        return {name: value.replace("URL", vendor.url) for name, value in self.env.items()}


SAMPLES: Mapping[str, Sample] = {
    "slack": Sample(Slack, "url_env: OUT_ADDRESS", {"OUT_ADDRESS": "URL"}),
    "teams": Sample(Teams, "url_env: OUT_ADDRESS", {"OUT_ADDRESS": "URL"}),
    "discord": Sample(Discord, "url_env: OUT_ADDRESS", {"OUT_ADDRESS": "URL"}),
    "pagerduty": Sample(PagerDuty, "url: URL, key_env: OUT_KEY", {"OUT_KEY": PagerDuty.key}),
    "opsgenie": Sample(Opsgenie, "url: URL, key_env: OUT_KEY", {"OUT_KEY": Opsgenie.key}),
    "jira": Sample(
        Jira, "url: URL, auth: {basic: [OUT_USER, OUT_KEY]}, project: SUP",
        {"OUT_USER": "me@example.com", "OUT_KEY": "jira-secret"},
    ),
    "github": Sample(GitHub, "url: URL, auth: {bearer: OUT_KEY}", {"OUT_KEY": "github-secret"}),
    "github-label": Sample(GitHubIssue, "url: URL, auth: {bearer: OUT_KEY}", {"OUT_KEY": "github-secret"}),
    "linear": Sample(Linear, f"url: URL, key_env: OUT_KEY, team: {Linear.team}", {"OUT_KEY": "linear-secret"}),
    "zendesk": Sample(
        Zendesk, "url: URL, auth: {basic: [OUT_USER, OUT_KEY]}",
        {"OUT_USER": "me@example.com/token", "OUT_KEY": "zendesk-secret"},
    ),
    "freshdesk": Sample(Freshdesk, "url: URL, auth: {basic: [OUT_KEY]}", {"OUT_KEY": "freshdesk-secret"}),
    "servicenow": Sample(
        ServiceNow, "url: URL, auth: {basic: [OUT_USER, OUT_KEY]}", {"OUT_USER": "me", "OUT_KEY": "servicenow-secret"},
    ),
    "zammad": Sample(
        Zammad, 'url: URL, auth: {header: Authorization, env: OUT_KEY, prefix: "Token token="}',
        {"OUT_KEY": "zammad-secret"},
    ),
}  # fmt: skip
