"""What the routes call: the rooms of one gateway, composed by ``gateway.app``."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from gateway.access.gate import Gate
from gateway.access.limits import Limits
from gateway.clock import Clock
from gateway.config import Config
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.files.pictures import Desk
from gateway.files.staging import Staging
from gateway.files.uploads import Uploads
from gateway.files.userdata import UserData
from gateway.jobs.fleet import Fleet
from gateway.jobs.jobs import Jobs
from gateway.jobs.overview import Overview
from gateway.jobs.roster import Roster
from gateway.metrics.meters import Meters
from gateway.runners.pool import Pool
from gateway.sessions.hub import Hub
from gateway.storage.blobs import BlobStore
from gateway.storage.database import Database
from gateway.webhooks.webhooks import Webhooks
from gateway.workflows.signing import Signer
from gateway.workflows.templates import Templates
from gateway.workflows.workflows import Workflows


@dataclass(frozen=True, slots=True)
class Services:
    """The rooms. ``gateway_id`` and ``since`` (milliseconds) are those of the database, of its first start."""

    gateway_id: str
    since: int
    clock: Clock
    config: Config
    db: Database
    blobs: BlobStore
    pool: Pool
    uploads: Uploads
    outputs: OutputNames
    staging: Staging
    jobs: Jobs
    hub: Hub
    userdata: UserData
    desk: Desk
    archive: Archive
    fleet: Fleet
    roster: Roster
    meters: Meters
    overview: Overview
    access: Gate
    limits: Limits
    workflows: Workflows
    templates: Templates
    webhooks: Webhooks
    signer: Signer


SERVICES = web.AppKey("services", Services)


def services(request: web.Request) -> Services:
    """The rooms that serve this request."""
    return request.app[SERVICES]
