"""The example of docs/webhooks.md verifies what the gateway signs."""

import re
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook

TEXT = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()


def test_the_example_verifies_messages_and_refuses_others():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    secret = "whsec_" + "A" * 43 + "="
    names = {}
    exec(code.replace("whsec_…", secret), names)
    body, now = b'{"type": "job.completed"}', datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body.decode()),
    }
    assert names["receive"](body, headers) == {"type": "job.completed"}
    assert names["receive"](body + b" ", headers) is None
