"""Categories and their profiles in responses."""

from pydantic import BaseModel, Field


class Category(BaseModel):
    """A label a ticket may get; `was` are its former names."""

    name: str = Field(description="its name")
    description: str = Field(description="what belongs to it, as every classifier reads it")
    examples: list[str] = Field(description="texts that belong to it")
    was: list[str] = Field(description="its former names")


class CategoryRule(BaseModel):
    """A rule that tickets of a category can match."""

    rule: str = Field(description="its name")
    when: str = Field(description="its further conditions in words; empty: none")
    destinations: list[str] = Field(description="where it sends them")


class CategoryProfile(Category):
    """A category, the confidence that its answers need, and where its tickets go."""

    thresholds: dict[str, float | None] = Field(
        description="by step of the default classifier: the confidence that it needs; null: none is enough"
    )
    rules: list[CategoryRule] = Field(description="the rules that its tickets can match, in order")
    covered: bool = Field(description="whether each of its tickets matches one of them")
