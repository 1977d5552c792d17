# What other folders import from this one.

from triage_cli.wiring.access_tokens import open_tokens as open_tokens
from triage_cli.wiring.analysis import LocalAnalysis as LocalAnalysis
from triage_cli.wiring.analysis import discover as discover
from triage_cli.wiring.analysis import exemplified as exemplified
from triage_cli.wiring.analysis import no_limit as no_limit
from triage_cli.wiring.analysis import open_classifier as open_classifier
from triage_cli.wiring.assembly import ranked as ranked
from triage_cli.wiring.assembly import services as services
from triage_cli.wiring.classifiers import Asker as Asker
from triage_cli.wiring.classifiers import only_loads as only_loads
from triage_cli.wiring.classifiers import paid_steps as paid_steps
from triage_cli.wiring.cost_estimate import estimate_cost as estimate_cost
from triage_cli.wiring.destination_types import DestinationType as DestinationType
from triage_cli.wiring.destinations import check_templates as check_templates
from triage_cli.wiring.destinations import offline_destinations as offline_destinations
from triage_cli.wiring.destinations import open_destination as open_destination
from triage_cli.wiring.destinations import routing_map as routing_map
from triage_cli.wiring.learned_models import learned_before as learned_before
from triage_cli.wiring.learned_models import promised_bounds as promised_bounds
from triage_cli.wiring.learning_runs import Analyst as Analyst
from triage_cli.wiring.sources import SourceType as SourceType
from triage_cli.wiring.stores import open_api_access as open_api_access
from triage_cli.wiring.stores import open_inflow as open_inflow
from triage_cli.wiring.stores import open_model_registry as open_model_registry
from triage_cli.wiring.stores import open_store as open_store

from . import classifier_diagnostics as classifier_diagnostics
from . import cost_estimate as cost_estimate
from . import database_maintenance as database_maintenance
from . import destination_diagnostics as destination_diagnostics
from . import destinations as destinations
from . import first_models as first_models
from . import learning_runs as learning_runs
from . import sources as sources
from . import stores as stores
