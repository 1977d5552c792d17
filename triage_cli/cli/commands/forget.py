"""`triage forget`: erase a person's text."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import messages
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import TICKETS_TABLE, Printer, PrintOptions
from triage_cli.cli.progress import elapsed_line


@remote_command
def forget(
    context: CommandContext,
    customer_id: Annotated[str, option("C", "Tickets of this customer.")],
    yes: Annotated[bool, flag("--yes", "Do not ask first; needed where there is no terminal.")] = False,
    dry_run: Annotated[
        bool, flag("--dry-run", "Print how many tickets would be erased, with -o which; erase nothing.")
    ] = False,
    *,
    printing: PrintOptions,
) -> None:
    """Erase a person's text from the database and its free pages; the audit log holds no text and stays valid.

    Deliveries, exports, backups, labels and examples are not erased. A later import of the same export does not store
    the tickets again. On a terminal it asks first; in a script it needs --yes.

    \b
    triage forget --customer-id C-1047 --dry-run
    triage forget --customer-id C-1047 --yes
    """
    customer = customer_id.strip()
    if not customer:
        raise dm.UsageError("--customer-id is empty", hint="name the customer")
    if dry_run:
        found = list(context.look().find(dm.Selection(customer_id=customer)))
        printing.printer(quiet=True).many(found, dm.ticket_record, context.ticket_columns(), TICKETS_TABLE)
        texts = _and_texts(_labelled_texts(context, customer))
        context.say(f"{messages.plural(len(found), 'tickets')}{texts} of {customer} would be erased (--dry-run)")
        return
    context.need_agreement(yes=yes)
    if yes or _agreed_to_erase(context, customer):
        _erase(context, customer, printing.printer(quiet=context.quiet))
    else:
        context.say("nothing was erased")


def _agreed_to_erase(context: CommandContext, customer: str) -> bool:
    """Ask for confirmation, unless there is nothing to erase."""
    tickets = sum(1 for _ in context.look().find(dm.Selection(customer_id=customer)))
    texts = _labelled_texts(context, customer)
    to_erase = f"{messages.plural(tickets, 'tickets')}{_and_texts(texts)} of {customer}"
    return not (tickets or texts) or context.agrees(f"this erases {to_erase} for good")


def _and_texts(number: int) -> str:
    return f" and {messages.plural(number, 'labelled texts', 'labelled text')}" if number else ""


def _labelled_texts(context: CommandContext, customer: str) -> int:
    """Return how many labelled texts are a customer's."""
    listed = context.look().labelled_texts(dm.TextQuery()) if context.has_database else ()
    names = customer, dm.mail_address(customer)
    return sum(each.customer_id in names or dm.mail_address(each.customer_id or "") in names[1:] for each in listed)


def _exemplified(context: CommandContext, customer: str) -> list[str]:
    """Return the categories of the configuration here that have a text of the customer among their examples."""
    if context.is_remote or context.config.path is None:
        return []
    from triage_cli.wiring import exemplified

    return exemplified(context.config, context.look().find(dm.Selection(customer_id=customer)))


def _look_alikes(context: CommandContext, customer: str) -> str:
    """Return the ids of customers that look like this one, with their tickets; empty if there are none."""
    groups = context.look().stats_by(dm.StatsQuery(by=("customer_id",)))
    tickets = {group.keys["customer_id"] or "": group.tickets for group in groups}
    return ", ".join(f"{other} ({tickets[other]:,})" for other in dm.look_alikes(customer, tickets))


def _erase(context: CommandContext, customer: str, printer: Printer) -> None:
    forget_counts: Counter[str] = Counter()
    sent_before: Counter[str] = Counter()

    def counted_erasures() -> Iterator[dm.Outcome[dm.Routed]]:
        with elapsed_line("erasing", shown=context.shows_progress(printer.format)):
            for forget_outcome in context.triage.forget(customer):
                forget_counts[forget_outcome.action] += 1
                if forget_outcome.value:
                    sent_before.update((forget_outcome.value.ticket.routed_to or "").split(", "))
                yield forget_outcome

    examples_of = _exemplified(context, customer)  # while the texts are there
    printer.many(counted_erasures(), dm.outcome_record, context.ticket_columns(), TICKETS_TABLE)
    context.say(messages.counted(forget_counts, ("forgotten",)))
    sent_before.pop("", None)
    if forget_counts:
        sent_to = ", ".join(f"{name} ({number})" for name, number in sorted(sent_before.items()))
        delivered_before = f"what was sent before: {sent_to}; " if sent_before else ""
        other_copies = "backups, exports, files of rejects and of labels, examples in configurations"
        context.say(f"note: out of reach: {delivered_before}{other_copies}")
    if forget_counts and examples_of:
        context.say(f"note: {context.config.path} has such a text as an example of {', '.join(examples_of)}; delete it")
    if forget_counts and (kept_databases := wiring.database_maintenance.kept_databases(context.config)):
        kept_files = ", ".join(map(str, kept_databases))
        context.say(
            f"note: {kept_files} may hold the texts as well: it is of before a restore or an upgrade; delete it"
        )
    if not forget_counts:
        context.say("note: no ticket has this customer id")
    if alike := _look_alikes(context, customer):
        context.say(f"note: {alike} look like it and were not erased, as they may be of another customer")
