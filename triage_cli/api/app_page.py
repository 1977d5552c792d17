"""The page `/app`, on which people read and decide tickets in a browser: three plain files that call this API."""

from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.responses import Response

APP_FILES = {
    "/app": ("app.html", "text/html"),
    "/app/app.css": ("app.css", "text/css"),
    "/app/app.js": ("app.js", "text/javascript"),
}
HEADERS = {
    # The page runs its own script alone, which can make no markup of a text, and it talks to this server alone.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

router = APIRouter(include_in_schema=False)


@router.get("/app")
@router.get("/app/app.css")
@router.get("/app/app.js")
def app_file(request: Request) -> Response:
    """Return the page, or one of the files that it loads."""
    name, media_type = APP_FILES[request.scope["route"].path]
    return Response((files("triage_cli.api") / "app" / name).read_bytes(), headers=HEADERS, media_type=media_type)
