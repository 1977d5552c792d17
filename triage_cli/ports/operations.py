"""Operations: the methods of ports that another instance carries out, as their signatures say.

A method's name is that of its operation, its arguments are an object of JSON, and so is what it returns; outcomes come
as lines. So a new method of a port needs a row in the tables here, and nothing else, to be served and called.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from triage_cli import domain as dm
from triage_cli.ports.analysis import Analysis
from triage_cli.ports.triage import Consultation, Triage

# What both sides must agree on beyond names and types. Another number is refused.
PROTOCOL = "1"
PROTOCOL_HEADER = "triage-protocol"
PATH = "/operations/"
# So many values of an iterator are answered; the next ones are asked for behind the last of them.
PAGE = 1000
# The least role that may ask for an operation, by port. A method without a row is not served.
SERVED: Mapping[type, Mapping[str, dm.Role]] = {
    Analysis: {
        "find_spikes": "admin",
        "send_spikes": "admin",
        "drift": "admin",
        "report": "reader",
        "suspects": "admin",
        "category_changes": "admin",
        "discover": "admin",
        "learn": "admin",
        "teach": "admin",
        "roll_back": "admin",
        "evaluate": "admin",
        "plan_texts": "admin",
    },
    Triage: {
        "classify": "agent",
        "route": "agent",
        "reclassify": "agent",
        "give_verdicts": "agent",
        "forget": "admin",
        "imported": "reader",
        "undo": "agent",
        "categories": "reader",
        "questions": "reader",
        "last_reading": "reader",
        "keep_reading": "agent",
        "runs": "admin",
        "find": "reader",
        "review_page": "reader",
        "resolve": "reader",
        "history": "reader",
        "why": "reader",
        "similar": "reader",
        "events": "reader",
        "labelled_texts": "reader",
        "stats": "reader",
        "stats_by": "reader",
        "overruled": "reader",
        "audit_head": "reader",
    },
    Consultation: {
        "classify_text": "agent",
        "preview_route": "reader",
        "category_profiles": "reader",
        "suggest": "agent",
    },
}
ROLES: Mapping[str, dm.Role] = {name: role for roles in SERVED.values() for name, role in roles.items()}
# Operations that only read and take little, or may be done twice: if an answer is lost, they are asked for again.
REPEATABLE = frozenset(
    {
        *(name for port in (Triage, Consultation) for name, role in SERVED[port].items() if role == "reader"),
        *("find_spikes", "drift", "report", "keep_reading", "runs", "suggest"),
    }
)


class Operation(NamedTuple):
    """One method of a port, for whoever calls it and whoever carries it out.

    `hints` are the types of its arguments, and `result` that of what it returns. The arguments in `silent` are
    functions of the caller, which are not told anything from afar; `read` reads the others from an object of JSON.
    """

    port: type
    name: str
    description: str
    signature: inspect.Signature
    hints: Mapping[str, Any]
    result: Any
    silent: frozenset[str]
    read: Callable[[Mapping[str, Any]], dict[str, Any]]

    @property
    def answers_lines(self) -> bool:
        """Return whether it yields outcomes, which come as they arise."""
        return get_origin(self.result) is Iterator and get_origin(get_args(self.result)[0]) is dm.Outcome

    @property
    def value(self) -> Any:
        """Return the type of an outcome of its lines."""
        return get_args(self.result)[0]

    def arguments_from(self, wire_record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the method from JSON. Raises `ProtocolError`."""
        return self.read(wire_record) | dict.fromkeys(self.silent, _say_nothing)

    def arguments_to(self, *values: Any, **named: Any) -> dict[str, Any]:
        """Return the arguments of a call as JSON has them."""
        given = self.signature.bind(None, *values, **named).arguments
        return {name: dm.to_wire(value) for name, value in given.items() if name in self.hints}

    @property
    def required(self) -> frozenset[str]:
        """Return the names of the arguments that have no default."""
        parameters = self.signature.parameters
        return frozenset(name for name in self.hints if parameters[name].default is inspect.Parameter.empty)


def _say_nothing(*_: object) -> None:
    pass


@cache
def operation(name: str) -> Operation:
    """Return the operation of this name. Raises `KeyError` if none is served."""
    port = {name: port for port, roles in SERVED.items() for name in roles}[name]
    method = getattr(port, name)
    hints = get_type_hints(method, include_extras=True)
    result = hints.pop("return")
    silent = frozenset(each for each, hint in hints.items() if get_origin(hint) is Callable)
    sent = {each: hint for each, hint in hints.items() if each not in silent}
    about = inspect.getdoc(method) or "", inspect.signature(method)
    return Operation(port, name, *about, sent, result, silent, dm.named_reader(name, sent))
