"""One ticket at a time, and what is there."""

from fastapi import APIRouter, Depends

from triage_cli.api.serving import TriageHere, json_only

router = APIRouter(dependencies=[Depends(json_only)])


@router.get("/stats")
def stats(triage: TriageHere) -> dict[str, object]:
    """Count tickets by status, category, classifier and day, and deliveries by destination."""
    return triage.stats()._asdict()
