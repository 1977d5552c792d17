# What other folders import from this one.

from triage_cli.destinations.command import CommandDestination as CommandDestination
from triage_cli.destinations.file import FileDestination as FileDestination
from triage_cli.destinations.http import HttpDestination as HttpDestination
from triage_cli.destinations.http import http_as_text as http_as_text
from triage_cli.destinations.http_sender import WORKERS as WORKERS
from triage_cli.destinations.payload import payload_line as payload_line
from triage_cli.destinations.payload import template_values as template_values
from triage_cli.destinations.rendered_mail import LONGEST as LONGEST
from triage_cli.destinations.rendered_mail import MailMessages as MailMessages
from triage_cli.destinations.rendered_mail import mail_as_text as mail_as_text
from triage_cli.destinations.rendered_mail import mail_mistakes as mail_mistakes
from triage_cli.destinations.rendered_requests import HttpSecrets as HttpSecrets
from triage_cli.destinations.rendered_requests import request_mistakes as request_mistakes
from triage_cli.destinations.rendered_requests import secrets_of as secrets_of
from triage_cli.destinations.smtp import MailDestination as MailDestination
from triage_cli.destinations.smtp import login_of as login_of
from triage_cli.destinations.webhook import WebhookDestination as WebhookDestination
from triage_cli.destinations.webhook import WebhookTarget as WebhookTarget
from triage_cli.destinations.webhook import webhook_as_text as webhook_as_text

from . import webhook as webhook
