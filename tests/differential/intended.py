"""Every difference between a gateway and one ComfyUI that is intended, as a table, and the check of a case against it.

A row is a reason, which stands word for word in docs/differences.md, the cases and the places in them that it concerns,
and the runners' versions and numbers over which they differ. A place is the path that `support.differences` writes.
A row that explains nothing in a case that it names is a failure too, unless it says `sometimes`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NEW, OLD = "0.33.0", "0.3.64"


@dataclass(frozen=True)
class Intended:
    """``cases`` matches a case's whole name, ``where`` is searched in the lines that tell its differences."""

    why: str
    cases: str
    where: str = ""
    versions: tuple[str, ...] = (NEW, OLD)
    runners: tuple[int, ...] = (1, 3)
    sometimes: bool = False

    def concerns(self, case: str, version: str, runners: int) -> bool:
        """Whether the row is about this case, there."""
        return version in self.versions and runners in self.runners and re.fullmatch(self.cases, case) is not None


def only(*names: str) -> str:
    """The pattern of the cases with these names."""
    return "|".join(map(re.escape, names))


ANY = ".*"
FLAGS = "flags are what every runner can, without assets and the Manager"
COMES_BACK = "a client that comes back is told what it needs to draw its running job, and what it missed"
NO_CLIENT = "events of a job without a client go to nobody, where one server tells everybody a part of them"
EXTRA_DATA = "`extra_data` that is no object becomes `{}`: it takes down the worker of 0.3.64"
ANY_ID = "any text of 1 to 128 characters; runners get a UUID"
OVERTAKEN = "a job that a runner holds already is not overtaken"
EMPTY_FOR_OLD = "an empty list, so that newer frontends work with old runners"
PAGE = "the page is never kept, as of newer servers"
FILES = "as of newer servers: times in whole milliseconds, `nosniff`, downloads only for what a browser would run"
POOL_HAS_MANY = "devices carry their runner's name; a pool has many"
SCRIPTS = "`Cache-Control: no-cache`: browsers may keep scripts and ask whether they are current"

INTENDED = [
    Intended(POOL_HAS_MANY, only("GET /system_stats"), r"\.json\.devices"),
    Intended(FLAGS, only("GET /features"), r"\.json\.(extension|assets)"),
    Intended(FLAGS, ANY, r"hears\[\d\]\.text\.data\.(extension|assets): only", sometimes=True),
    Intended(
        EMPTY_FOR_OLD,
        only("GET /global_subgraphs", "GET /global_subgraphs/unknown", "GET /node_replacements"),
        versions=(OLD,),
    ),
    Intended("off, as newer servers say it; old ones do not know it", only("GET /api/assets"), versions=(OLD,)),
    Intended(PAGE, only("GET /", "HEAD /", "GET / cross-site navigate"), r"Cache-Control", versions=(OLD,)),
    Intended(
        SCRIPTS,
        only("GET /scripts/app.js", "HEAD /scripts/app.js", "OPTIONS /missing.js"),
        r"Cache-Control",
        versions=(NEW,),
    ),
    Intended(
        "403: nothing cross-site passes, as of newer servers",
        only("GET /prompt cross-site", "GET / cross-site no-cors"),
        versions=(OLD,),
    ),
    Intended("200: following a link to the page is no harm", only("GET / cross-site navigate"), versions=(NEW,)),
    Intended(
        FILES,
        r".* (/api)?/(view|userdata).*|.* output|a file outlives its history",
        r"Content-Disposition|X-Content-Type-Options|Content-Type|\.(modified|created): '<float>', but '<int>'"
        r"|Vary|Cache-Control: only the second has it: 'no-store'",
        versions=(OLD,),
        sometimes=True,
    ),
    Intended(
        "they are one user's, and change",
        r".* /userdata/user.css.*",
        r"Cache-Control: .* but 'no-store'",
        versions=(OLD,),
    ),
    Intended(
        "a job's id may be any that its client chose",
        only('POST /api/jobs/cancel {"job_ids": ["x"]}'),
        versions=(NEW,),
    ),
    Intended("compressed where accepted", only("GET /object_info"), r"headers\.Vary"),
    Intended(
        "folders of all runners; `pathIndex` counts the joined list",
        only("GET /experiment/models"),
        r"\.folders: ",
        runners=(3,),
    ),
    Intended(
        NO_CLIENT,
        only(
            "without a client",
            "failing without a client",
            "a client id that is null",
            "interrupt without a client",
        ),
        r"hears",
    ),
    Intended(
        "a `client_id` that is no text is none",
        only("a client id that is null", "a client id that is a number"),
        r"\.client_id: only the first has it",
    ),
    Intended(EXTRA_DATA, only("extra_data null", "extra_data a list", "extra_data a text", "extra_data a number")),
    Intended(
        ANY_ID,
        only(
            "an id in capitals", "an id that is a text", "an empty id", "an id that is a number", "an id that is a list"
        ),
        versions=(NEW,),
    ),
    Intended(ANY_ID, only("an id of 200 letters"), r"\.json\.error", versions=(NEW,)),
    Intended(
        ANY_ID,
        only("an empty id", "an id that is a number", "an id that is a list", "an id of 200 letters"),
        versions=(OLD,),
    ),
    Intended("an id that the gateway already has is refused, and never run twice", only("an id twice")),
    Intended(
        COMES_BACK,
        only(
            "back while it runs",
            "back while it runs, with flags",
            "back after the end",
            "a second socket while it runs",
        ),
        r"hears",
    ),
    Intended(
        "in the order in which they will run, where one server shows its heap",
        only("in front", "front and number"),
        r"queue_pending",
    ),
    Intended(OVERTAKEN, only("in front", "by number", "front and number"), r"hears|history|queue_pending"),
    Intended(
        "`queue_position` of those that wait",
        ".*job.*",
        r"queue_position: only the second",
        sometimes=True,
    ),
    Intended(
        "when those that wait are expected to begin and to end",
        ".*job.*",
        r"expected_(start|end): only the second",
        sometimes=True,
    ),
    Intended(
        "the graph that a runner writes into a picture names inputs as they lie there",
        only("an upload as an output", "an upload changes", "an upload replaces an output"),
        r"made by\.1\.inputs\.image",
    ),
    Intended(
        "the graph that a runner writes into a picture names inputs as they lie there",
        ".*anywhere",
        r"made by\.1\.inputs\.image",
        runners=(3,),
        sometimes=True,
    ),
    Intended(
        "results that only another runner has in its cache are computed again, into a file of their own",
        only("a rerun anywhere"),
        runners=(3,),
        sometimes=True,
    ),
    Intended(
        "`create_time` is told of every job",
        ANY,
        r"create_time",
        versions=(OLD,),
        sometimes=True,
    ),
    Intended(
        "`comfy_usage_source` is kept of every job",
        only("usage source"),
        r"comfy_usage_source",
        versions=(OLD,),
    ),
    Intended("answered over old runners too", only("jobs over an old runner"), versions=(OLD,)),
    Intended(
        "jobs of one tab that run at once are told one after the other, their progress in short",
        only("three at once, with flags"),
        r"hears",
        runners=(3,),
        sometimes=True,
    ),
    Intended(
        "a graph that no runner can run is refused in the words of one of them",
        only("an unknown class", "an unknown class beside", "no class while busy", "no class", "a node that is a text"),
        r"\.json\.(error|node_errors)",
        runners=(3,),
        sometimes=True,
    ),
    Intended(
        "on what one server fails or refuses by itself too",
        ANY,
        r"headers\.Content-Security-Policy: only the second has it",
        versions=(NEW,),
        sometimes=True,
    ),
    # recordings of real servers
    Intended(
        NO_CLIENT,
        "recording: prompt_no_client_id",
        r"websocket_(submitter|bystander)",
        runners=(1,),
    ),
    Intended(FLAGS, "recording: (ws_connect|get /features)", r"\.(extension|assets): only", runners=(1,)),
    Intended(
        "in the order in which they will run, where one server shows its heap",
        "recording: queue_running_and_pending",
        r"queue_pending",
        runners=(1,),
    ),
    Intended(COMES_BACK, "recording: ws_reconnect_same_client_id_while_running", r"second_socket", runners=(1,)),
    Intended(
        "answered over old runners too",
        "recording: (jobs /api/jobs|get /(global_subgraphs|node_replacements|api/(assets|tags))).*",
        versions=(OLD,),
        runners=(1,),
    ),
    Intended(
        FILES,
        "recording: (view|userdata_|get /internal/files).*",
        r"X-Content-Type-Options|Content-Disposition|\.(modified|created): |\[output\]'",
        versions=(OLD,),
        runners=(1,),
        sometimes=True,
    ),
    Intended(PAGE, "recording: head_root", "Cache-Control", versions=(OLD,), runners=(1,)),
]


def unexplained(
    case: str, found: Sequence[str], version: str, runners: int, table: Sequence[Intended] = INTENDED
) -> list[str]:
    """The lines that no row explains, and the rows that explain nothing."""
    rows = [row for row in table if row.concerns(case, version, runners)]
    wrong = [line for line in found if not any(re.search(row.where, line) for row in rows)]
    idle = [row for row in rows if not row.sometimes and not any(re.search(row.where, line) for line in found)]
    return wrong + [f"no longer differs: {row.why} ({row.where or 'anywhere'})" for row in idle]
