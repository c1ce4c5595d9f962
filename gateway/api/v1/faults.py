"""Whatever goes wrong under ``/v1`` is answered in its form of errors: what a route raises by `told_of`, which every
route calls, and what happens around routes (no such path, refusals before a route) by the middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from aiohttp import web

from gateway.access.errors import Refused
from gateway.api.answers import RETRY_SECONDS
from gateway.api.asking import NoRunner
from gateway.api.v1.errors import NOT_FOUND, PREFIX, ApiError, ErrorAnswer, told
from gateway.runners.errors import RunnerError
from gateway.storage.errors import StorageError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Known = ApiError | Refused | RunnerError | StorageError | NoRunner
KNOWN = (ApiError, Refused, RunnerError, StorageError, NoRunner)
KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")

log = structlog.get_logger(__name__)


def is_ours(request: web.Request) -> bool:
    """Whether a request is for ``/v1``."""
    return request.path == PREFIX or request.path.startswith(PREFIX + "/")


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Around all that is called for a request under ``/v1``; other requests pass."""
    if not is_ours(request):
        return await handler(request)
    try:
        answer = await handler(request)
    except web.HTTPException as error:
        return _worded(error)
    except KNOWN as error:
        return told_of(request, error)
    except Exception:  # the last place that can give it this API's form
        log.error("request.failed", method=request.method, path=request.path, exc_info=True)
        return ErrorAnswer(500, "the gateway failed; its log says why")
    return _worded(answer)


def _worded(answer: web.StreamResponse) -> web.StreamResponse:
    """An error that something else has answered, in this API's words; its headers that matter are kept."""
    if answer.status < HTTPStatus.BAD_REQUEST or answer.prepared or isinstance(answer, ErrorAnswer):
        return answer
    headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
    message = NOT_FOUND if answer.status == HTTPStatus.NOT_FOUND else HTTPStatus(answer.status).phrase.lower()
    return ErrorAnswer(answer.status, message, headers)


def told_of(request: web.Request, error: Known) -> ErrorAnswer:
    """The answer for what was raised. Faults of the storage or of a runner go to the log."""
    where = {"method": request.method, "path": request.path}
    match error:
        case ApiError():
            return told(error)
        case Refused():
            return ErrorAnswer(error.status, str(error), error.headers)
        case RunnerError():
            log.warning("request.runner", **where, runner=error.runner, reason=error.reason)
            return ErrorAnswer(500, f"runner {error.runner} did not answer: {error.reason}")
        case StorageError():
            log.error("request.storage", **where, reason=str(error))
            return ErrorAnswer(503, "the gateway's storage cannot be used now", {"Retry-After": str(RETRY_SECONDS)})
        case NoRunner():
            return ErrorAnswer(503, str(error), {"Retry-After": str(RETRY_SECONDS)})
