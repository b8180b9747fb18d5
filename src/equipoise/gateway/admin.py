"""Running the gateway from outside: keys, reload, status. For keys with the scope ``admin``."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import web

from equipoise.errors import InputError
from equipoise.gateway.edge import read_body
from equipoise.gateway.health import status_of
from equipoise.gateway.problems import Problem
from equipoise.gateway.replies import as_json
from equipoise.gateway.state import Gateway, Incoming
from equipoise.storage.keys import DEFAULT_TENANT, PREFIX, KeyInfo
from equipoise.storage.store import DAY_S
from equipoise.wire import Body

_FIELDS = ("name", "tenant", "scopes", "expires_days")


async def status(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """How everything is doing."""
    return as_json(status_of(gateway), incoming)


async def reload(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """Read the configuration again, as SIGHUP does."""
    wrong = await gateway.reload()
    if wrong is not None:
        raise Problem(409, "not_reloaded", f"the configuration before is still served: {wrong}")
    return as_json({"reloaded": True, "routes": [r.name for r in gateway.live.serving.routes]}, incoming)


async def list_keys(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """Every key; never the key itself."""
    return as_json({"keys": [_document(info) for info in gateway.keys.keys()]}, incoming)


async def create_key(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """A new key, shown this once."""
    body, _ = await read_body(incoming.http, gateway.settings)
    now = gateway.clock.time()
    name, tenant, scopes, days = _asked(body)
    expires = None if days is None else now + days * DAY_S
    # In a thread: while another program writes to the file, this waits, and other requests must not.
    create = partial(gateway.keys.create, name=name, tenant=tenant, scopes=scopes, expires=expires, now=now)
    key, info = await asyncio.to_thread(create)
    return as_json({"key": key, **_document(info)}, incoming, status=201)


async def revoke_key(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """Make a key worthless at once."""
    revoke = partial(gateway.keys.revoke, incoming.variables["id"], now=gateway.clock.time())
    return as_json(_document(await asyncio.to_thread(revoke)), incoming)


def _asked(body: Body) -> tuple[str, str, list[str], float | None]:
    for field in body:
        if field not in _FIELDS:
            raise _bad(field[:40], f"unknown field '{field[:40]}'; known: {', '.join(_FIELDS)}")
    name, tenant = body.get("name"), body.get("tenant", DEFAULT_TENANT)
    scopes, days = body.get("scopes", ["call", "feedback"]), body.get("expires_days")
    if not isinstance(name, str) or not isinstance(tenant, str):
        raise _bad("name", "name and tenant should be strings; name is required")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise _bad("scopes", "scopes should be a list of strings")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days < 1e6):
        raise _bad("expires_days", "expires_days should be a number above 0")
    return name, tenant, scopes, days


def _bad(field: str, message: str) -> Problem:
    return Problem(400, InputError.code, message, param=field)


def _document(info: KeyInfo) -> dict[str, Any]:
    return {**info._asdict(), "id": PREFIX + info.id, "scopes": sorted(info.scopes)}
