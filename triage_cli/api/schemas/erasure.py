"""The request to erase a customer's text."""

from typing import Annotated

from pydantic import Field, StringConstraints

from triage_cli.api.schemas.request_fields import RequestBody


class ForgetIn(RequestBody):
    """The customer whose text is erased."""

    customer_id: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)] = Field(
        description="the customer"
    )
