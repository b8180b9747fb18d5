"""The gateway as one function from request to response: the table of endpoints, and what is done around each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from equipoise.errors import EquipoiseError
from equipoise.gateway import admin, health, listing, records
from equipoise.gateway.calls import calling
from equipoise.gateway.cors import letting_in
from equipoise.gateway.edge import Handler as EdgeHandler
from equipoise.gateway.edge import check_head
from equipoise.gateway.listing import is_anthropics
from equipoise.gateway.openapi import document
from equipoise.gateway.problems import Problem, problem_of
from equipoise.gateway.replies import as_json, as_problem
from equipoise.gateway.state import Endpoint, Gateway, Incoming
from equipoise.storage.ids import new_id
from equipoise.storage.keys import PREFIX, KeyInfo
from equipoise.types import WireFormat


async def openapi(gateway: Gateway, incoming: Incoming) -> web.StreamResponse:
    """This document."""
    return as_json(document(ENDPOINTS, keys_required=gateway.settings.keys == "required"), incoming)


ENDPOINTS = (
    Endpoint("POST", "/v1/chat/completions", "call", calling("chat"), "chat"),
    Endpoint("POST", "/v1/responses", "call", calling("responses"), "responses"),
    Endpoint("POST", "/v1/messages", "call", calling("messages"), "messages"),
    Endpoint("POST", "/v1/embeddings", "call", calling("embeddings"), "embeddings"),
    Endpoint("POST", "/v1/messages/count_tokens", "call", listing.count, "messages"),
    Endpoint("GET", "/v1/models", "call", listing.models),
    Endpoint("GET", "/v1/models/{name}", "call", listing.model),
    Endpoint("POST", "/v1/route", "call", records.route),
    Endpoint("POST", "/v1/feedback", "feedback", records.feedback),
    Endpoint("GET", "/v1/decisions/{id}", "read", records.look_up),
    Endpoint("GET", "/healthz", None, health.healthz),
    Endpoint("GET", "/", None, health.healthz),  # what clients and load balancers look at first
    Endpoint("GET", "/readyz", None, health.readyz),
    Endpoint("GET", "/metrics", "read", health.metrics),
    Endpoint("GET", "/openapi.json", None, openapi),
    Endpoint("GET", "/admin/status", "admin", admin.status),
    Endpoint("POST", "/admin/reload", "admin", admin.reload),
    Endpoint("GET", "/admin/keys", "admin", admin.list_keys),
    Endpoint("POST", "/admin/keys", "admin", admin.create_key),
    Endpoint("DELETE", "/admin/keys/{id}", "admin", admin.revoke_key),
)
# What clients put before a path: nothing where their base URL lacks /v1, twice where it should not have it; and Azure's
# the name of the model, whatever the body says.
_UNDER = re.compile(r"(?:/openai(?:/deployments/(?P<model>[^/]+))?|/v1)?(?:/v1)?(?P<rest>(?:/.*)?)", re.DOTALL)
_OVERLOADED_RETRY_S = 1.0
_MOST_ID = 128
_MOST_PATH = 200


class Found(NamedTuple):
    """An endpoint, and the parts of the path that it leaves open."""

    endpoint: Endpoint
    variables: Mapping[str, str]


class Table:
    """Finds the endpoint of a request."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        plain = [e for e in endpoints if "{" not in e.path]
        self._plain = {(e.method, e.path): Found(e, {}) for e in plain}
        self._open = [(e.method, e.path.split("{")[0], e) for e in endpoints if "{" in e.path]

    def find(self, method: str, path: str) -> Found:
        """The endpoint of a method and a path.

        Raises:
            Problem: 404 for a path that is not served, 405 for a method that a path does not take.
        """
        method = "GET" if method == "HEAD" else method
        found = self._plain.get((method, path))
        if found is not None:
            return found
        base = _UNDER.fullmatch(path.rstrip("/"))
        model = {} if base is None or base["model"] is None else {"model": base["model"]}
        taken: set[str] = set()
        for spelt in (path,) if base is None else (path, "/v1" + base["rest"]):
            # What is left open is the rest of the path: names of models may have slashes.
            under = [(m, start, e) for m, start, e in self._open if spelt.startswith(start) and len(spelt) > len(start)]
            found = self._plain.get((method, spelt))
            for taken_by, start, endpoint in under:
                if taken_by == method:
                    found = Found(endpoint, {endpoint.path.split("{")[1][:-1]: spelt[len(start) :]})
            if found is not None:
                return found._replace(variables={**found.variables, **model})
            taken |= {m for m, p in self._plain if p == spelt} | {m for m, _, _ in under}
        if taken:
            allowed = ", ".join(sorted(taken))
            raise Problem(405, "method_not_allowed", f"this path takes {allowed}", headers={"Allow": allowed})
        raise Problem(404, "path_not_found", "this path is not served; see /openapi.json")


def handler_of(gateway: Gateway) -> EdgeHandler:
    """What the edge calls for every request."""
    table = Table(ENDPOINTS)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        begun, request_id = gateway.clock.monotonic(), _id_of(request)
        found: Found | None = None
        caller: KeyInfo | None = None
        gateway.in_flight += 1
        try:
            check_head(request, gateway.settings)
            found = table.find(request.method, request.path)
            caller = gateway.gate.enter(request.headers, found.endpoint.scope)
            if gateway.in_flight > gateway.settings.max_in_flight and found.endpoint.scope == "call":
                raise _overloaded()
            incoming = Incoming(request, caller, request_id, begun, found.variables)
            return await found.endpoint.handler(gateway, incoming)
        except EquipoiseError as error:
            problem = problem_of(error)
            if problem.status >= 500 and not isinstance(error, Problem):
                gateway.lines.failed("a request failed", error, request_id=request_id)
            elif "x-equipoise-decision-id" not in problem.headers:  # what failed later has its own line
                _tell(gateway, problem, request.path if found is None else found.endpoint.path, request_id, caller)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001  (told in the log; the client gets no more than a code)
            gateway.lines.failed("a request failed", error, request_id=request_id)
            problem = Problem(500, "internal_error", "the gateway failed; its log says where")
        finally:
            gateway.in_flight -= 1
        gateway.metrics.problem(problem.status, problem.code)
        return as_problem(problem, _shape(request, found), request_id)

    return letting_in(gateway.settings.cors_origins, handle)


def _tell(gateway: Gateway, problem: Problem, path: str, request_id: str, caller: KeyInfo | None) -> None:
    """The line of a request that came to no decision."""
    if gateway.settings.request_lines != "none":
        gateway.lines.say(
            "refused",
            request_id=request_id,
            tenant=None if caller is None else caller.tenant,
            key=PREFIX + caller.id if caller is not None and caller.id else None,
            endpoint=path[:_MOST_PATH],
            status=problem.status,
            error=problem.code,
        )


def _shape(request: web.BaseRequest, found: Found | None) -> WireFormat:
    """The format in whose shape an error is told."""
    if found is not None and found.endpoint.format is not None:
        return found.endpoint.format
    return "messages" if is_anthropics(request) or request.path.startswith("/v1/messages") else "chat"


def _overloaded() -> Problem:
    said = "as many requests as the gateway takes are being served; try again"
    return Problem(503, "overloaded", said, retry_after_s=_OVERLOADED_RETRY_S)


def _id_of(request: web.BaseRequest) -> str:
    """The caller's own name for the request, if it gave one that can be sent back."""
    given = request.headers.get("x-request-id")
    if given is not None and 0 < len(given) <= _MOST_ID and given.isascii() and given.isprintable():
        return given
    return new_id()
