"""The pages `/docs` and `/app`, from installed files, so that they need no internet."""

from importlib.resources import files
from pathlib import PurePosixPath

from fastapi import APIRouter, HTTPException, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import JSONResponse, RedirectResponse, Response

APP_FOLDER = files("triage_cli.extensions.server") / "app"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
APP_FILES = {"/app": APP_FOLDER / "app.html", **{f"/app/{file.name}": file for file in APP_FOLDER.iterdir()}}
APP_HEADERS = {
    # The page runs its own script alone, which can make no markup of a text, and it talks to this server alone.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

app_router = APIRouter(include_in_schema=False)


@app_router.get("/")
def front_door(request: Request) -> Response:
    """Send who opens the bare address to the page."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/app")


@app_router.get("/app")
@app_router.get("/app/{name}")
def app_file(request: Request) -> Response:
    """Return the page, or one of the files that it loads."""
    file = APP_FILES.get(request.scope["path"].removeprefix(request.scope.get("root_path", "")))
    if file is None:
        raise HTTPException(404)
    return Response(file.read_bytes(), headers=APP_HEADERS, media_type=MEDIA_TYPES[PurePosixPath(file.name).suffix])


# The package `fastapi-offline` carries Swagger UI's files; nothing else of it is used.
SWAGGER_FILES = files("fastapi_offline") / "static"
DOCS_FILES = {
    "/docs/swagger-ui-bundle.js": "text/javascript",
    "/docs/swagger-ui.css": "text/css",
    "/docs/favicon.png": "image/png",
}
# The docs page loads nothing from elsewhere and reports to nobody.
DOCS_PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

docs_router = APIRouter(include_in_schema=False)


@docs_router.get("/openapi.json")
async def description(request: Request) -> Response:
    """Return the OpenAPI description; its server is this one, as the caller reached it."""
    this_server = {"url": str(request.base_url).rstrip("/")}
    return JSONResponse({**request.app.openapi(), "servers": [this_server]})


@docs_router.get("/docs")
async def docs(request: Request) -> Response:
    """Return the page that describes the API."""
    root_path = request.scope.get("root_path", "")
    docs_page = get_swagger_ui_html(
        openapi_url=f"{root_path}/openapi.json",
        title="triage",
        swagger_js_url=f"{root_path}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root_path}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root_path}/docs/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},
    )
    docs_page.headers["content-security-policy"] = DOCS_PAGE_POLICY
    return docs_page


@docs_router.get("/docs/{name}")
def docs_file(name: str) -> Response:
    """Return one of the files that the page `/docs` loads."""
    file_type = DOCS_FILES.get(f"/docs/{name}")
    if file_type is None:
        raise HTTPException(404)
    return Response((SWAGGER_FILES / name).read_bytes(), media_type=file_type)
