"""The global options, which every command has: before its name, or after it."""

from typing import Annotated, Any, NamedTuple

import typer


class GlobalOptions(NamedTuple):
    """The global options of a command line, as typed; None if not typed."""

    config: str | None = None
    db: str | None = None
    remote: str | None = None
    insecure: bool | None = None
    offline: bool | None = None
    quiet: bool | None = None
    verbose: bool | None = None

    def over(self, other: "GlobalOptions") -> "GlobalOptions":
        """Return these global options, with values of the other ones for those that were not typed."""
        return other._replace(**{name: value for name, value in self._asdict().items() if value is not None})


GLOBAL_OPTIONS: dict[str, Any] = {
    "config": Annotated[str | None, typer.Option("--config", metavar="PATH", help="The configuration file.")],
    "db": Annotated[str | None, typer.Option("--db", metavar="PATH|URL", help="The database.")],
    "remote": Annotated[
        str | None, typer.Option("--remote", metavar="URL", help="Work on another machine's triage serve.")
    ],
    "insecure": Annotated[bool | None, typer.Option("--insecure", help="Allow a remote by http://, unencrypted.")],
    "offline": Annotated[
        bool | None, typer.Option("--offline", help="Open no connection: deliveries over the network wait.")
    ],
    "quiet": Annotated[
        bool | None,
        typer.Option(
            "-q",
            "--quiet",
            help="Print no summary and no notes; create, classify, route and reclassify print records only with -o.",
        ),
    ],
    "verbose": Annotated[
        bool | None, typer.Option("-v", "--verbose", help="Print more: what is used, ids and hashes, tracebacks.")
    ],
}
