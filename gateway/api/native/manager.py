"""ComfyUI-Manager's routes: which of them only read. The others install, update, remove, restore or reboot; behind a
gateway they would do so on one runner of many."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from gateway.api import answers
from gateway.comfyui import errors

MANAGER_DISABLED = "manager_disabled"

# ComfyUI-Manager's families, bare, under /api and, since its version 4, under /v2.
_MANAGER = re.compile(r"(?:/api)?(?:/v2)?/(manager|customnode|snapshot|externalmodel|comfyui_manager)(?:/(.*))?", re.S)
# Many of its changes are GETs, so what may pass is listed and not what may not.
_READS = {
    "manager": r"version|notice|badge_mode|preview_method|db_mode|channel_url_list|share_option|startup_alerts"
    r"|policy/[^/]+|need_to_migrate|is_legacy_manager_ui|queue/(status|history|history_list|batch_count)",
    "customnode": r"getlist|getmappings|installed|alternatives|fetch_updates_status|import_fail_info"
    r"|(versions|disabled_versions)/.+",
    "snapshot": r"getlist|get_current|diff",
    "externalmodel": r"getlist",
    "comfyui_manager": r"comfyui_versions",
}
_READS_BY_POST = re.compile(r"import_fail_info(_bulk)?")


def changes_a_runner(request: web.Request) -> bool:
    """True for those of Manager's routes that change something."""
    found = _MANAGER.fullmatch(request.path)
    if found is None:
        return False
    family, rest = found[1], found[2] or ""
    if request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        # Older ones set an option with ?value=.
        return re.fullmatch(_READS[family], rest) is None or "value" in request.query
    return not (family == "customnode" and _READS_BY_POST.fullmatch(rest))


def refusal() -> web.Response:
    """403 with the reason."""
    details = "it would change one runner of the pool only; the configuration can allow it: passthrough.allow_manager"
    return answers.json(
        errors.error_body(MANAGER_DISABLED, "ComfyUI-Manager is switched off behind this gateway", details), status=403
    )
