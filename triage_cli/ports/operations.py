"""Operations: the methods of ports that another instance carries out, as their signatures say.

A method's name is that of its operation, its arguments are an object of JSON, and so is what it returns. So a new
method of a port needs a row in the tables here, and nothing else, to be served and called.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, get_origin, get_type_hints

from triage_cli.domain import Reader, Role, named_values, reader, to_wire
from triage_cli.ports.analysis import Analysis

# What both sides must agree on beyond names and types. Another number is refused.
PROTOCOL = "1"
PROTOCOL_HEADER = "triage-protocol"
PATH = "/operations/"
# The least role that may ask for an operation. A method without a row is not served.
ROLES: Mapping[str, Role] = {
    "find_spikes": "admin",
    "send_spikes": "admin",
    "drift": "admin",
    "report": "reader",
    "suspects": "admin",
    "discover": "admin",
    "learn": "admin",
    "roll_back": "admin",
    "evaluate": "admin",
    "plan_texts": "admin",
}
# Operations that only read and take little: if an answer is lost, they are asked for again.
REPEATABLE = frozenset({"find_spikes", "drift", "report"})


class Operation(NamedTuple):
    """One method of a port, for whoever calls it and whoever carries it out.

    `fields` read its arguments. Those in `silent` are functions of the caller, which are not told anything from afar.
    """

    name: str
    description: str
    role: Role
    repeatable: bool
    signature: inspect.Signature
    hints: Mapping[str, Any]
    silent: frozenset[str]

    def arguments_from(self, wire_record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the method from JSON. Raises `ProtocolError`."""
        readers: Mapping[str, Reader] = {name: reader(hint) for name, hint in self.hints.items()}
        arguments = named_values(self.name, readers, wire_record)
        return arguments | dict.fromkeys(self.silent, _say_nothing)

    def arguments_to(self, *values: Any, **named: Any) -> dict[str, Any]:
        """Return the arguments of a call as JSON has them."""
        given = self.signature.bind(None, *values, **named).arguments
        return {name: to_wire(value) for name, value in given.items() if name in self.hints}

    @property
    def required(self) -> frozenset[str]:
        """Return the names of the arguments that have no default."""
        parameters = self.signature.parameters
        return frozenset(name for name in self.hints if parameters[name].default is inspect.Parameter.empty)

    @property
    def result(self) -> Any:
        """Return the type of what the method returns."""
        return get_type_hints(getattr(Analysis, self.name), include_extras=True)["return"]


def _say_nothing(*_: object) -> None:
    pass


@cache
def operation(name: str) -> Operation:
    """Return the operation of this name. Raises `KeyError` if none is served."""
    role, method = ROLES[name], getattr(Analysis, name)
    hints = get_type_hints(method, include_extras=True)
    hints.pop("return")
    silent = frozenset(each for each, hint in hints.items() if get_origin(hint) is Callable)
    return Operation(
        name,
        inspect.getdoc(method) or "",
        role,
        name in REPEATABLE,
        inspect.signature(method),
        {each: hint for each, hint in hints.items() if each not in silent},
        silent,
    )
