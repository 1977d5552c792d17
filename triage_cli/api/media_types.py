"""The media types of request bodies, and the refusal of bodies of another type."""

from collections.abc import Iterable

from fastapi import Request
from starlette.datastructures import Headers

from triage_cli.domain import MediaTypeError

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def media_type(headers: Headers) -> str:
    """Return the media type of a body without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_only(request: Request) -> None:
    """Refuse a body that is no JSON."""
    _refuse_other_types(request, JSON)


async def json_or_form(request: Request) -> None:
    """Refuse a body that is neither JSON nor a form."""
    _refuse_other_types(request, JSON, FORM)


def _refuse_other_types(request: Request, *accepted_types: str) -> None:
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and (body_type := media_type(request.headers)) not in accepted_types:
        raise other_type_error(body_type, accepted_types)


def other_type_error(body_type: str, accepted_types: Iterable[str]) -> MediaTypeError:
    """Return the error for a body whose media type is not accepted."""
    hint = f"send {' or '.join(accepted_types)}"
    return MediaTypeError(f'a body of type "{body_type}" is not read here', hint=hint)
