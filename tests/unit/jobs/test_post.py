"""What a runner says of a prompt, as the client may read it."""

from __future__ import annotations

import json

import pytest

from gateway.jobs.post import Refused, in_clients_words

POSTED = {"1": {"inputs": {"image": 'gateway/unavailable/bär "1".png', "list": ["x.0123.png"]}}}
REPLACED = {("1", "image"): 'bär "1".png [output]', ("1", "list"): ["x.png"]}


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_refusal_names_files_as_they_were_sent(ensure_ascii):
    told = {"error": {"details": f"Invalid image file: {POSTED['1']['inputs']['image']}"}, "node_errors": {}}
    refused = Refused(400, json.dumps(told, ensure_ascii=ensure_ascii).encode(), "application/json")
    answer = in_clients_words(refused, POSTED, REPLACED)
    assert (answer.status, answer.content_type) == (400, "application/json")
    assert json.loads(answer.body)["error"]["details"] == 'Invalid image file: bär "1".png [output]'


def test_nothing_that_was_replaced_changes_nothing():
    refused = Refused(400, b"no JSON", "text/plain")
    assert in_clients_words(refused, POSTED, {}) == refused
    assert in_clients_words(refused, POSTED, REPLACED) == refused
