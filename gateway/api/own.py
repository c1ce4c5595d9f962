"""The routes under ``/gateway/``, declared for the router and for the OpenAPI document alike. Their handlers are
elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs

from gateway.access.wanted import ChangeBody, RotationBody, TokenBody
from gateway.api import login, operations, own_models
from gateway.api.admin import overview, tokens, trail
from gateway.api.openapi import Answer, Endpoint, Handler, Parameter, Scope

HTML = "text/html"
FORM = "application/x-www-form-urlencoded"
PAGE = Answer("The page.", str, media=HTML)
ELSEWHERE = Answer("To another page.", headers={str(hdrs.LOCATION): "Its path."})
NO_TOKEN = "No token, or one that is not taken."
NO_SCOPE = "The token lacks the scope."
NO_SUCH_TOKEN = "There is no such token."


def _error(description: str) -> Answer:
    return Answer(description, own_models.NativeError)


def declare(
    method: str,
    path: str,
    handler: Handler,
    summary: str,
    *,
    tag: str,
    model: Any = None,
    status: int = 200,
    scope: Scope | None = None,
    errors: Mapping[int, str] | None = None,
    answers: Mapping[int, Answer] | None = None,
    **more: Any,
) -> Endpoint:
    """A route with its usual refusals: those of who calls, and ``errors``. ``answers`` are given as they are."""
    refusals = {401: NO_TOKEN, 403: NO_SCOPE} if scope is not None else {}
    listed = {code: _error(text) for code, text in {**refusals, **(errors or {})}.items()}
    listed.update(answers if answers is not None else {status: Answer("Done.", model)})
    return Endpoint(
        method=method, path=path, handler=handler, summary=summary, tag=tag, scope=scope, answers=listed, **more
    )


OPERATIONS = [
    declare(
        "GET", "/gateway/health", operations.health, "The process answers", tag="operations", model=own_models.Healthy
    ),
    declare(
        "GET",
        "/gateway/ready",
        operations.ready,
        "It can take work",
        tag="operations",
        answers={200: Answer("It can.", own_models.Ready), 503: Answer("It cannot.", own_models.NotReady)},
    ),
    declare(
        "GET",
        "/gateway/metrics",
        operations.metrics,
        "What Prometheus scrapes",
        description="Needs no token where `access.open_metrics` says so.",
        tag="operations",
        scope="admin",
        answers={200: Answer("The metrics, or OpenMetrics as it is asked for.", str, media="text/plain")},
    ),
    declare(
        "GET",
        "/gateway/api/jobs/{job_id}",
        overview.get_job,
        "The whole story of a job",
        tag="operations",
        scope="run",
        parameters=[Parameter("job_id", "path", "The prompt_id.")],
        model=own_models.JobTold,
        errors={404: "There is no such job, or it is another owner's."},
    ),
    declare(
        "GET",
        "/gateway/api/runners",
        overview.get_runners,
        "Every runner, and what it holds",
        tag="operations",
        scope="manage",
        model=own_models.RunnersTold,
    ),
]

LOGIN = [
    declare("GET", "/gateway/login", login.get_login, "The login page", tag="login", answers={200: PAGE}),
    declare(
        "POST",
        "/gateway/login",
        login.post_login,
        "Exchange a token for a session's cookie",
        tag="login",
        body=own_models.LoginForm,
        media=FORM,
        answers={
            200: Answer("No login is needed.", str, media=HTML),
            303: ELSEWHERE,
            401: Answer("The token is not taken.", str, media=HTML),
            429: Answer("Too many attempts from this address.", str, media=HTML),
        },
    ),
    declare(
        "GET", "/gateway/logout", login.get_logout, "To the page with the button", tag="login", answers={303: ELSEWHERE}
    ),
    declare("POST", "/gateway/logout", login.post_logout, "End the session", tag="login", answers={303: ELSEWHERE}),
]

_TOKEN_ID = Parameter("id", "path", "The token's id.")
TOKENS = [
    declare(
        "GET",
        "/gateway/api/tokens",
        tokens.get_tokens,
        "List the tokens",
        tag="tokens",
        scope="admin",
        parameters=[Parameter("owner", "query", "Only this owner's.", required=False)],
        model=own_models.TokensTold,
    ),
    declare(
        "POST",
        "/gateway/api/tokens",
        tokens.post_token,
        "Make a token",
        tag="tokens",
        scope="admin",
        body=TokenBody,
        status=201,
        model=own_models.NewToken,
        errors={400: "A field is wrong; extra_info has which."},
    ),
    declare(
        "GET",
        "/gateway/api/tokens/{id}",
        tokens.get_token,
        "One token",
        tag="tokens",
        scope="admin",
        parameters=[_TOKEN_ID],
        model=own_models.TokenTold,
        errors={404: NO_SUCH_TOKEN},
    ),
    declare(
        "PATCH",
        "/gateway/api/tokens/{id}",
        tokens.patch_token,
        "Change what a token permits",
        tag="tokens",
        scope="admin",
        parameters=[_TOKEN_ID],
        body=ChangeBody,
        model=own_models.TokenTold,
        errors={
            400: "A field is wrong; extra_info has which.",
            404: NO_SUCH_TOKEN,
            409: "The token cannot be changed: it is dead, or the configuration's.",
        },
    ),
    declare(
        "DELETE",
        "/gateway/api/tokens/{id}",
        tokens.delete_token,
        "Revoke a token",
        tag="tokens",
        scope="admin",
        parameters=[_TOKEN_ID],
        model=own_models.TokenTold,
        errors={404: NO_SUCH_TOKEN, 409: "The token is the configuration's."},
    ),
    declare(
        "POST",
        "/gateway/api/tokens/{id}/rotate",
        tokens.rotate_token,
        "Make a token that permits the same; the old one lives on for a while",
        tag="tokens",
        scope="admin",
        parameters=[_TOKEN_ID],
        body=RotationBody,
        status=201,
        model=own_models.NewToken,
        errors={
            400: "A field is wrong; extra_info has which.",
            404: NO_SUCH_TOKEN,
            409: "The token is dead, or the configuration's.",
        },
    ),
    declare(
        "GET",
        "/gateway/api/audit",
        trail.get_audit,
        "What was done to tokens, runners and others' jobs",
        tag="tokens",
        scope="admin",
        query=trail.Query,
        model=own_models.AuditPage,
        errors={400: "A filter is wrong; extra_info has which."},
    ),
]

ENDPOINTS = [*OPERATIONS, *LOGIN, *TOKENS]
