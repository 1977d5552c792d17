# What other folders import from this one.

from triage_cli.api.auth import Authenticator as Authenticator
from triage_cli.api.auth import FailedKeys as FailedKeys
from triage_cli.api.factory import ENDPOINT_THREADS as ENDPOINT_THREADS
from triage_cli.api.factory import app as app
from triage_cli.api.factory import create_app as create_app
from triage_cli.api.http_protocol import TimeoutProtocol as TimeoutProtocol
from triage_cli.api.ndjson import NdjsonResponse as NdjsonResponse
from triage_cli.api.ndjson import StreamSlots as StreamSlots
from triage_cli.api.request_limits import RequestLimits as RequestLimits
from triage_cli.api.routes import tickets as tickets
from triage_cli.api.routes.webhooks import verified_event_id as verified_event_id
from triage_cli.api.server import Server as Server
from triage_cli.api.server import ServerSettings as ServerSettings
from triage_cli.api.server import open_socket as open_socket
from triage_cli.api.server import uvicorn_config as uvicorn_config
from triage_cli.api.server_log import error_log as error_log
from triage_cli.api.server_log import written_log as written_log
from triage_cli.api.server_state import IncomingWebhook as IncomingWebhook
from triage_cli.api.server_state import ServerState as ServerState
from triage_cli.api.server_state import incoming_webhooks as incoming_webhooks
from triage_cli.api.server_state import token_verification as token_verification
from triage_cli.api.token_verifier import TokenVerifier as TokenVerifier
from triage_cli.api.worker_processes import SOCKET_FD_ENV as SOCKET_FD_ENV
from triage_cli.api.worker_processes import WorkerProcesses as WorkerProcesses
from triage_cli.api.worker_processes import follow_parent as follow_parent

from . import auth as auth
from . import background as background
from . import factory as factory
from . import idempotency as idempotency
from . import ndjson as ndjson
from . import problems as problems
from . import server as server
from . import server_log as server_log
from . import token_verifier as token_verifier
from . import worker_processes as worker_processes
