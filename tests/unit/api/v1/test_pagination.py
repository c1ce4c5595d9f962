import pytest
from pydantic import ValidationError

from gateway.api.v1.pagination import Page

ITEMS = list(range(25))


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ({}, ITEMS[:10]),
        ({"page": "3"}, ITEMS[20:]),
        ({"page": "4"}, []),
        ({"per_page": "100"}, ITEMS),
        ({"page": "2", "per_page": "7"}, ITEMS[7:14]),
        ({"unknown": "x"}, ITEMS[:10]),
    ],
)
def test_a_page_of_a_list(query, page):
    assert Page.model_validate(query).of(ITEMS) == page


@pytest.mark.parametrize(
    "query",
    [{"page": "0"}, {"page": "-1"}, {"page": "1.5"}, {"page": ""}, {"per_page": "0"}, {"per_page": "101"}],
)
def test_out_of_range_it_is_refused(query):
    with pytest.raises(ValidationError):
        Page.model_validate(query)
