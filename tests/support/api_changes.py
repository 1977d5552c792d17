"""Which changes of an OpenAPI description break the programs that were written against the earlier one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import operations

Schema = Mapping[str, Any]
Direction = Literal["sent", "received"]  # as the client sees it
ROLES = ("", *dm.api_keys.ROLES)
METHODS = ("get", "put", "post", "delete", "patch", "head")


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Return a sentence for each change that a client of the earlier description would notice."""
    return list(dict.fromkeys(_Comparison(old, new).changes()))


class _Comparison(NamedTuple):
    old: Schema
    new: Schema

    def changes(self) -> Iterator[str]:
        for path, methods in self.old["paths"].items():
            if path.startswith(operations.PATH):  # promised for this version alone
                continue
            for method in METHODS:
                if method in methods:
                    where = f"{method.upper()} {path}"
                    later = self.new["paths"].get(path, {}).get(method)
                    if later is None:
                        yield f"{where} is gone"
                    else:
                        yield from self._operation(where, methods[method], later)

    def _operation(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{where}: its id was {old['operationId']}, is {new['operationId']}"
        before, after = old.get("x-required-role", ""), new.get("x-required-role", "")
        if ROLES.index(after) > ROLES.index(before):
            yield f"{where}: its role was {before or 'none'}, is {after}"
        yield from self._parameters(where, _by_name(old), _by_name(new))
        yield from self._body(where, old.get("requestBody", {}), new.get("requestBody", {}))
        for status, response in old["responses"].items():
            if not status.startswith("2"):
                continue
            if status not in new["responses"]:
                yield f"{where}: {status} is gone"
                continue
            later = new["responses"][status].get("content", {})
            for media_type, content in response.get("content", {}).items():
                if media_type not in later:
                    yield f"{where}: {status} has no {media_type} any more"
                else:
                    pair = content["schema"], later[media_type]["schema"]
                    yield from self._schema(f"{where}: {status}", *pair, "received")

    def _parameters(self, where: str, old: Mapping[str, Schema], new: Mapping[str, Schema]) -> Iterator[str]:
        for name, parameter in new.items():
            if parameter.get("required") and not old.get(name, {}).get("required"):
                yield f"{where}: parameter {name} is required now"
        for name, parameter in old.items():
            if name not in new:
                yield f"{where}: parameter {name} is gone"
            else:
                pair = parameter["schema"], new[name]["schema"]
                yield from self._schema(f"{where}: parameter {name}", *pair, "sent")

    def _body(self, where: str, old: Schema, new: Schema) -> Iterator[str]:
        if new.get("required") and not old.get("required"):
            yield f"{where}: the body is required now"
        for media_type, content in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield f"{where}: a body of {media_type} is not taken any more"
            else:
                pair = content["schema"], new["content"][media_type]["schema"]
                yield from self._schema(f"{where}: body", *pair, "sent")

    def _schema(
        self, where: str, old: Schema, new: Schema, direction: Direction, seen: Sequence[str] = ()
    ) -> Iterator[str]:
        reference = old.get("$ref", "")
        if reference in seen:
            return
        old, new = _resolved(self.old, old), _resolved(self.new, new)
        seen = (*seen, reference) if reference else seen
        yield from _values(where, _types(self.old, old), _types(self.new, new), direction)
        if "enum" in old or "enum" in new:
            yield from _values(where, old.get("enum"), new.get("enum"), direction)
        for part in ("items", "contentSchema"):
            if part in old and part in new:
                yield from self._schema(f"{where}[]", old[part], new[part], direction, seen)
        yield from self._properties(where, old, new, direction, seen)

    def _properties(
        self, where: str, old: Schema, new: Schema, direction: Direction, seen: Sequence[str]
    ) -> Iterator[str]:
        fields, later = old.get("properties", {}), new.get("properties", {})
        needed = set(new.get("required", ())) - set(old.get("required", ()))
        given_up = set(old.get("required", ())) - set(new.get("required", ()))
        if direction == "sent":
            yield from (f"{where}.{name} is required now" for name in sorted(needed))
        else:
            yield from (f"{where}.{name} may be missing now" for name in sorted(given_up & later.keys()))
        for name, field in fields.items():
            if name not in later:
                yield f"{where}.{name} is gone"
            else:
                yield from self._schema(f"{where}.{name}", field, later[name], direction, seen)


def _by_name(operation: Schema) -> dict[str, Schema]:
    return {f"{one['in']} {one['name'].lower()}": one for one in operation.get("parameters", ())}


def _resolved(description: Schema, schema: Schema) -> Schema:
    """Return a schema without reference, and of one that may be null what it is otherwise."""
    while True:
        if "$ref" in schema:
            schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif len(kinds := [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]) == 1:
            schema = kinds[0]
        else:
            return schema


def _types(description: Schema, schema: Schema) -> list[str] | None:
    """Return the JSON types of a schema; None: any."""
    kinds = schema.get("anyOf") or [schema]
    found = [_resolved(description, kind).get("type") for kind in kinds]
    named = [[kind] if isinstance(kind, str) else kind for kind in found if kind is not None]
    return None if None in found else sorted({kind for some in named for kind in some})


def _values(where: str, old: Sequence[str] | None, new: Sequence[str] | None, direction: Direction) -> Iterator[str]:
    """Yield what a client may not send any more, or does not expect; None: anything."""
    few, many = (new, old) if direction == "sent" else (old, new)
    if few is None:
        return
    if many is None:
        yield f"{where}: any value was taken" if direction == "sent" else f"{where}: may be any value now"
        return
    for value in many:
        if value not in few:
            yield f"{where}: {value} is not taken any more" if direction == "sent" else f"{where}: may be {value} now"
