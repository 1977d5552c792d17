"""What those who run the server ask: is it alive, is it ready."""

from fastapi import APIRouter

from triage_cli.api.serving import ServedHere

router = APIRouter()


@router.get("/health")
async def health() -> dict[str, str]:
    """Tell that the process is alive."""
    return {"status": "ok"}


@router.get("/ready")
def ready(served: ServedHere) -> dict[str, str]:
    """Tell whether requests can be served: the database answers."""
    served.gate.ping()
    return {"status": "ready"}
