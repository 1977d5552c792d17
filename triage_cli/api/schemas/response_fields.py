"""The fields that several responses have."""

from typing import Literal

from pydantic import Field

ConfidenceSource = Literal["decision", "logprob", "said", "model", "human"]
TICKET_ID_FIELD = Field(description="the ticket's id")
RUN_ID_FIELD = Field(description="the run that did it; null: a single request")
CONFIDENCE_FIELD = Field(description="how sure, from 0 to 1")
CONFIDENCE_SOURCE_FIELD = Field(
    description="the source of the confidence; `said` (by a language model) is the least reliable"
)
CLASSIFIER_FIELD = Field(description="the classifier's name in the configuration")
REASON_FIELD = Field(description="why, in the classifier's words")
