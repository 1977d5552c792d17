"""The description, and the page `/docs`: Swagger UI from files that are installed, so that it needs no internet."""

from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import JSONResponse, Response

# The package `fastapi-offline` carries Swagger UI's files; nothing else of it is used.
STATIC = files("fastapi_offline") / "static"
DOCS_FILES = {
    "/docs/swagger-ui-bundle.js": "text/javascript",
    "/docs/swagger-ui.css": "text/css",
    "/docs/favicon.png": "image/png",
}
# The page loads nothing from elsewhere and reports to nobody.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def description(request: Request) -> Response:
    """Return the description; its server is this one, as the caller reached it."""
    server = {"url": str(request.base_url).rstrip("/")}
    return JSONResponse({**request.app.openapi(), "servers": [server]})


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Return the page that describes the API."""
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="triage",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},
    )
    page.headers["content-security-policy"] = POLICY
    return page


@router.get("/docs/{name}")
def docs_file(name: str) -> Response:
    """Return one of the page's files."""
    kind = DOCS_FILES.get(f"/docs/{name}")
    if kind is None:
        raise HTTPException(404)
    return Response((STATIC / name).read_bytes(), media_type=kind)
