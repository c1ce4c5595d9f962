"""Lists in pages: ``?page=1&per_page=10``, newest first; ``total`` counts what all pages have together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

PAGE_MOST = 1_000_000_000  # far past every list, and well within the database's integers
PER_PAGE_MOST = 100
PER_PAGE = 10

Item = TypeVar("Item")


class Page(BaseModel):
    """The query of a list; further filters are fields of a subclass. What is out of range is 400."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    page: int = Field(1, ge=1, le=PAGE_MOST, description="Which page, from 1.")
    per_page: int = Field(PER_PAGE, ge=1, le=PER_PAGE_MOST, description="How many on one page.")

    @property
    def offset(self) -> int:
        """How many come before this page."""
        return (self.page - 1) * self.per_page

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """This page of a list that is whole and in order."""
        return items[self.offset : self.offset + self.per_page]
