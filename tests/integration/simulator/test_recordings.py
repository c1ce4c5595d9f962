"""The simulator passes the recordings: every scenario, in order, gives what a real server of that version gave.

Compared are status, headers, JSON or text, the history entry, and every websocket frame of both sockets in its exact
order. Left out are only what two servers of one version never share (see `support.wording`): times, ids that the server
made, random letters, tracebacks, memory sizes, and the exact bytes of JPEGs. `status` frames are not left out: the
runner has no threads, so their number and their counts are the same each time, and they are those of the recordings.
"""

import copy
import json
from typing import Any

from support.differences import differences
from support.recorded import differing


async def test_every_scenario_gives_what_a_real_server_gave(replay: Any) -> None:
    wrong = await differing(replay)
    assert not wrong, json.dumps(wrong, indent=1)[:20000]


def test_a_difference_of_any_kind_is_seen(recorded: Any) -> None:
    save = recorded("0.33.0")["prompt_ok_save"]
    for change in (
        lambda side: side.update(status=201),
        lambda side: side["json"].update(number=0.0),
        lambda side: side["headers"].pop("Content-Type"),
        lambda side: side["websocket_submitter"].pop(7),
        lambda side: side["websocket_bystander"].append(side["websocket_bystander"][0]),
        lambda side: side["websocket_submitter"][2]["text"]["data"].update(more=1),
    ):
        changed = copy.deepcopy(save)
        change(changed)
        assert differences(save, changed)
    swapped = copy.deepcopy(save)
    socket = swapped["websocket_submitter"]
    socket[4], socket[5] = socket[5], socket[4]
    assert differences(save, swapped)
