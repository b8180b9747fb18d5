"""JSON to the client: documents, and problems in the shape of the format that it speaks."""

from __future__ import annotations

import math
from typing import Any

import orjson
from aiohttp import web

from equipoise.gateway.problems import Problem
from equipoise.gateway.state import Incoming
from equipoise.types import WireFormat
from equipoise.wire import FORMATS

JSON = "application/json"
SERVER = "equipoise"


def as_json(document: Any, incoming: Incoming, *, status: int = 200) -> web.Response:
    """A document. Not-a-number becomes null: JSON has no NaN."""
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    headers = {"Server": SERVER, "Content-Type": JSON, "x-request-id": incoming.id}
    return web.Response(status=status, body=body, headers=headers)


def as_problem(problem: Problem, format: WireFormat, request_id: str) -> web.Response:
    """A problem in the shape of a format."""
    said = str(problem).encode(errors="replace").decode()  # it may quote a header, whose bytes may be no text
    document = FORMATS[format].error(problem.status, problem.code, said, problem.param)
    headers = {"Server": SERVER, "Content-Type": JSON, "x-request-id": request_id, **problem.headers}
    if format == "messages":
        headers["request-id"] = request_id  # where Anthropic's SDKs look
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(problem.retry_after_s))
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    response = web.Response(status=problem.status, body=orjson.dumps(document), headers=headers)
    if problem.close:
        response.force_close()
    return response
