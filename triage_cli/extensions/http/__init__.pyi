# What other folders import from this one.

from triage_cli.extensions.http.http import HttpDestination as HttpDestination
from triage_cli.extensions.http.http import http_as_text as http_as_text
from triage_cli.extensions.http.http_sender import WORKERS as WORKERS
from triage_cli.extensions.http.rendered_mail import LONGEST as LONGEST
from triage_cli.extensions.http.rendered_mail import MailMessages as MailMessages
from triage_cli.extensions.http.rendered_mail import mail_as_text as mail_as_text
from triage_cli.extensions.http.rendered_mail import mail_mistakes as mail_mistakes
from triage_cli.extensions.http.rendered_requests import request_mistakes as request_mistakes
from triage_cli.extensions.http.rendered_requests import secrets_of as secrets_of
from triage_cli.extensions.http.smtp import MailDestination as MailDestination
from triage_cli.extensions.http.smtp import login_of as login_of
from triage_cli.extensions.http.types import HTTP as HTTP
from triage_cli.extensions.http.types import MAIL as MAIL
from triage_cli.extensions.http.types import WEBHOOK as WEBHOOK
from triage_cli.extensions.http.webhook import WebhookDestination as WebhookDestination
from triage_cli.extensions.http.webhook import WebhookTarget as WebhookTarget
from triage_cli.extensions.http.webhook import webhook_as_text as webhook_as_text

from . import webhook as webhook
