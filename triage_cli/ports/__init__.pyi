# What other folders import from this one.

from triage_cli.ports.analysis import Analysis as Analysis
from triage_cli.ports.analysis import TellProgress as TellProgress
from triage_cli.ports.classifiers import AskedModel as AskedModel
from triage_cli.ports.classifiers import Batcher as Batcher
from triage_cli.ports.classifiers import Classifier as Classifier
from triage_cli.ports.classifiers import FindMixtures as FindMixtures
from triage_cli.ports.classifiers import Ranking as Ranking
from triage_cli.ports.classifiers import Settings as Settings
from triage_cli.ports.classifiers import Trainer as Trainer
from triage_cli.ports.exchange import Destination as Destination
from triage_cli.ports.exchange import Pause as Pause
from triage_cli.ports.exchange import Source as Source
from triage_cli.ports.instance import ApiKeys as ApiKeys
from triage_cli.ports.instance import Instance as Instance
from triage_cli.ports.operations import Operation as Operation
from triage_cli.ports.storage import ApiAccessStore as ApiAccessStore
from triage_cli.ports.storage import AuditLogReader as AuditLogReader
from triage_cli.ports.storage import Inflow as Inflow
from triage_cli.ports.storage import ModelRegistry as ModelRegistry
from triage_cli.ports.storage import Store as Store
from triage_cli.ports.triage import Consultation as Consultation
from triage_cli.ports.triage import Triage as Triage
from triage_cli.ports.wire_format import DRAFTS_MEDIA_TYPE as DRAFTS_MEDIA_TYPE
from triage_cli.ports.wire_format import LINES_MEDIA_TYPE as LINES_MEDIA_TYPE

from . import operations as operations
from . import wire_format as wire_format
