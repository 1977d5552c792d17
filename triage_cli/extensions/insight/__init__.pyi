# What other folders import from this one.

from triage_cli.extensions.insight.command import drift_command as drift_command
from triage_cli.extensions.insight.command import plan_command as plan_command
from triage_cli.extensions.insight.command import report_command as report_command
from triage_cli.extensions.insight.command import spikes_command as spikes_command
from triage_cli.extensions.insight.insight import drift as drift
from triage_cli.extensions.insight.insight import find_spikes as find_spikes
from triage_cli.extensions.insight.insight import plan as plan
from triage_cli.extensions.insight.insight import plan_texts as plan_texts
from triage_cli.extensions.insight.insight import report as report
from triage_cli.extensions.insight.insight import send_spikes as send_spikes
from triage_cli.extensions.insight.pages import plan_page as plan_page
from triage_cli.extensions.insight.pages import report_page as report_page
from triage_cli.extensions.insight.plan_comparison import ConfigurationSide as ConfigurationSide
from triage_cli.extensions.insight.plan_comparison import NewNames as NewNames
from triage_cli.extensions.insight.plan_comparison import PlanComparison as PlanComparison
from triage_cli.extensions.insight.reporting import make_report as make_report
from triage_cli.extensions.insight.spike_delivery import find_latest_spikes as find_latest_spikes
from triage_cli.extensions.insight.spike_delivery import send_new_spikes as send_new_spikes

from . import tables as tables
