"""Every command of the program: what the help says of it, where its function is, where a message may ask for it."""

from typing import Literal, NamedTuple


class Listed(NamedTuple):
    """A command or group: its `MODULE:NAME` in `cli.commands`, and its summary, short enough for 80 columns.

    The `place` of a command that an extension adds is empty.

    `hinted` says where a message that names it asks for it: on a remote too; on its machine only; or nowhere, since the
    command runs for as long as somebody wants it.
    """

    place: str
    summary: str
    hinted: Literal["remote", "local", "nowhere"] = "remote"


# By the headings of the help, in their order: the first are shown by `triage --help`, all by `triage help all`.
HEADINGS = {
    "Commands": {
        "init": Listed("init:init", "Make a configuration and a model out of an export", "local"),
        "run": Listed("run:run", "Store, classify and route in one pass"),
        "create": Listed("create:create", "Store tickets: one typed, or a file of many"),
        "classify": Listed("classify:classify", "Give tickets a category"),
        "route": Listed("route:route", "Send tickets to their destinations"),
        "list": Listed("tickets:list_tickets", "List tickets, newest first"),
        "why": Listed("tickets:why", "Explain how a ticket was decided, and what comes next"),
        "logs": Listed("audit:logs", "Print the audit log"),
        "review": Listed("review:review", "Decide the tickets that wait for a person, one key each"),
        "verdict": Listed("verdict:verdict", "Set a person's category, which no machine changes"),
        "learn": Listed("learn:learn", "Fit the embedded classifier to verdicts and labelled files"),
        "report": Listed("", "Write a page about the last week, for the team"),
    },
    "More of the job": {
        "pull": Listed("pull:pull", "Store what is new in the sources of the configuration", "local"),
        "nightly": Listed("nightly:nightly", "Pull, create, classify, route and check, for cron", "local"),
        "undo": Listed("runs:undo", "Take back an import: the wrong file, the wrong mapping"),
    },
    "More about tickets": {
        "show": Listed("tickets:show", "Show one ticket with its whole history"),
        "similar": Listed("tickets:similar", "Find the tickets with the most similar texts"),
        "stats": Listed("stats:stats", "Count tickets, costs and deliveries"),
        "runs": Listed("runs:runs", "List bulk commands: what each did, and its cost"),
    },
    "Better answers": {
        "eval": Listed("evaluate:evaluate", "Measure classifiers on labelled tickets"),
        "reclassify": Listed("reclassify:reclassify", "Ask again; show or change other categories"),
        "plan": Listed("", "See what a new configuration would change"),
        "discover": Listed("discover:discover", "Find topics in tickets, and propose categories"),
        "suspects": Listed("learn:suspects", "Find labels that are likely wrong"),
        "categories": Listed("categories:categories", "Find categories that do not work, and repair the list"),
        "drift": Listed("", "Compare decisions with those of the time before"),
        "spikes": Listed("", "Find topics that many customers suddenly write about"),
    },
    "Configuration and watch": {
        "config": Listed("config:GROUP", "Show and check the configuration", "local"),
        "doctor": Listed("doctor:doctor", "Try configuration, database and classifiers", "local"),
        "check": Listed("check:check", "Compare what waits with limits, for a monitor"),
    },
    "For others": {
        "serve": Listed("", "Serve the HTTP API", "nowhere"),
        "keys": Listed("keys:GROUP", "Make and revoke the keys of the HTTP API"),
        "mcp": Listed("", "Let agents read, ask why and suggest, over MCP", "nowhere"),
    },
    "Database and log": {
        "db": Listed("database:GROUP", "Back up the database, or move it to PostgreSQL", "local"),
        "audit": Listed("audit:GROUP", "Prove that the audit log is whole"),
        "forget": Listed("forget:forget", "Erase a person's text for good"),
    },
}
COMMANDS = {name: listed for commands in HEADINGS.values() for name, listed in commands.items()}
