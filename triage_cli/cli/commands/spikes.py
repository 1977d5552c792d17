"""`triage spikes`: what many customers suddenly write about."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from triage_cli import wiring
from triage_cli.cli import messages, options
from triage_cli.cli.command import command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.cli.progress import elapsed_line
from triage_cli.domain import ExitCode, Spike
from triage_cli.service import find_latest_spikes, send_new_spikes

SPIKE_KEYS = tuple(field for field in Spike._fields if field != "members")


@command
def spikes(
    context: CommandContext,
    window: Annotated[str, typer.Option(metavar="DURATION", help="The period of the latest tickets.")] = "2h",
    baseline: Annotated[str, typer.Option(metavar="DURATION", help="The earlier weeks to compare with.")] = "28d",
    check: Annotated[bool, typer.Option("--check", help="Exit with code 8 if there is a spike.")] = False,
    *,
    printing: PrintOptions,
) -> int:
    """Find categories and groups of similar tickets about which far more customers write than in earlier weeks.

    With `spikes: {to: DESTINATION}` in the configuration, each spike is sent there once.

    \b
    triage spikes
    triage spikes --window 6h -o json
    triage spikes --check -q
    """
    printer = printing.printer()
    printer.check_columns(SPIKE_KEYS)
    latest_window = options.period("--window", window, "a second", "a week", "2h")
    baseline_period = options.period("--baseline", baseline, "a week", "ten years", "28d")
    context.require_database()
    context.look()  # from here on a signal waits until what was sent is stored
    inflow = wiring.stores.open_inflow(context.config, context.store)
    with elapsed_line("comparing", shown=context.guides):
        new_spikes = find_latest_spikes(inflow, datetime.now(UTC), latest_window, baseline_period)
    printer.all_of(
        [_spike_record(spike) for spike in new_spikes], SPIKE_KEYS, drawn_by("insight_tables.spikes"), "spike_id"
    )
    context.say(f"{messages.plural(len(new_spikes), 'spikes')} in the last {window}")
    spikes_to = context.config.spikes_to
    if spikes_to is not None and new_spikes:
        if spikes_to in wiring.destinations.offline_destinations(context.config):
            unsent = "what was found is sent by the next triage spikes"
            context.say(f"note: {spikes_to} needs the network, which is off; {unsent}")
        else:
            spike_destination = wiring.destinations.open_destination(context.config, spikes_to, guarded=False)
            sent_spikes = send_new_spikes(inflow, new_spikes, spike_destination, window, context.signature[0])
            context.say(f"{messages.plural(sent_spikes, 'spikes')} sent to {spikes_to}" if sent_spikes else "")
    return ExitCode.CHECK_FAILED if check and new_spikes else ExitCode.OK


def _spike_record(spike: Spike) -> dict[str, Any]:
    examples = [example._asdict() for example in spike.examples]
    return {key: value for key, value in spike._asdict().items() if key in SPIKE_KEYS} | {"examples": examples}
