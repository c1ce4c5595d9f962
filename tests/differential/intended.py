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
EMPTY_FOR_OLD = "an empty list, so that newer frontends work with old runners"
PAGE = "the page is never kept, as of newer servers"
FILES = "as of newer servers: times in whole milliseconds, `nosniff`, downloads only for what a browser would run"
POOL_HAS_MANY = "devices carry their runner's name; a pool has many"
SCRIPTS = "`Cache-Control: no-cache`: browsers may keep scripts and ask whether they are current"

INTENDED = [
    Intended(POOL_HAS_MANY, only("GET /system_stats"), r"\.json\.devices"),
    Intended(
        "flags are what every runner can, without assets and the Manager",
        only("GET /features"),
        r"\.json\.(extension|assets)",
    ),
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
        r".* (/api)?/(view|userdata).*",
        r"Content-Disposition|X-Content-Type-Options|Content-Type|\.(modified|created): '<float>', but '<int>'",
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
    Intended("it is compressed where accepted", only("GET /object_info"), r"headers\.Vary"),
    Intended(
        "folders of all runners; `pathIndex` counts the joined list",
        only("GET /experiment/models"),
        r"\.folders: ",
        runners=(3,),
    ),
]


def unexplained(
    case: str, found: Sequence[str], version: str, runners: int, table: Sequence[Intended] = INTENDED
) -> list[str]:
    """The lines that no row explains, and the rows that explain nothing."""
    rows = [row for row in table if row.concerns(case, version, runners)]
    wrong = [line for line in found if not any(re.search(row.where, line) for row in rows)]
    idle = [row for row in rows if not row.sometimes and not any(re.search(row.where, line) for line in found)]
    return wrong + [f"no longer differs: {row.why} ({row.where or 'anywhere'})" for row in idle]
