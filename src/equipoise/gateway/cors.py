"""Pages of which other origins may call the gateway from a browser: those that the configuration names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from equipoise.gateway.replies import SERVER

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_REMEMBERED_S = "600"


def letting_in(origins: Sequence[str], handle: _Handler) -> _Handler:
    """A handler that also answers browsers when they ask what a page may do, and tells them whether it may read."""
    if not origins:
        return handle

    async def handle_shared(request: web.BaseRequest) -> web.StreamResponse:
        response = _permit(request, origins) or await handle(request)
        if not response.prepared:
            response.headers.update(may_read(request, origins))
        return response

    return handle_shared


def may_read(request: web.BaseRequest, origins: Sequence[str]) -> dict[str, str]:
    """The headers by which a browser knows that the page that asked may read the answer; others may not."""
    headers = {"Vary": "Origin"} if origins else {}
    origin = request.headers.get("Origin")
    if origin is not None and origin in origins:
        headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "*"}
    return headers


def _permit(request: web.BaseRequest, origins: Sequence[str]) -> web.Response | None:
    """The answer to a browser that asks, before a request, whether a page may make it; None to all others."""
    method, names = (request.headers.get(f"Access-Control-Request-{what}", "") for what in ("Method", "Headers"))
    if request.method != "OPTIONS" or not method or request.headers.get("Origin") not in origins:
        return None
    allowed = {"Methods": "GET, POST, DELETE", "Headers": names}
    headers = {f"Access-Control-Allow-{what}": value for what, value in allowed.items()}
    return web.Response(status=204, headers={"Server": SERVER, **headers, "Access-Control-Max-Age": _REMEMBERED_S})
