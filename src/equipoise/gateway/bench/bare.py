"""A bare proxy on the HTTP libraries that the gateway uses: it parses the JSON, rewrites the model, and passes it on.

Without more it is the least that any gateway in Python on these libraries costs: a raw server, one handler, the
fastest JSON. With ``--application`` it is what one writes who follows aiohttp's documentation.

python -m equipoise.gateway.bench.bare --upstream http://127.0.0.1:PORT [--application]     prints its port
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import aiohttp
import orjson
import uvloop
from aiohttp import web

_AUTHORIZATION = {"Authorization": "Bearer upstream"}


class Bare:
    """One handler of a raw server."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = upstream + "/v1/chat/completions", session

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a chat completion on."""
        body = orjson.loads(await request.read())
        body["model"] = "canned"
        headers = {"Content-Type": "application/json", **_AUTHORIZATION}
        async with self._session.post(self._url, data=orjson.dumps(body), headers=headers) as answer:
            if body.get("stream"):
                return await _stream(request, answer)
            content = await answer.read()
            orjson.loads(content)
            return web.Response(status=answer.status, body=content, content_type="application/json")


def application(upstream: str, session: aiohttp.ClientSession) -> web.Application:
    """The same as an application with a route."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        body["model"] = "canned"
        async with session.post(upstream + request.path, json=body, headers=_AUTHORIZATION) as answer:
            if body.get("stream"):
                return await _stream(request, answer)
            return web.json_response(await answer.json(), status=answer.status)

    made = web.Application()
    made.router.add_post("/v1/chat/completions", handle)
    return made


async def _stream(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


async def serve(upstream: str, port: int, *, as_application: bool) -> None:
    """Serve until killed; the first line of standard output is the port."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        runner: web.BaseRunner = web.ServerRunner(web.Server(Bare(upstream, session).handle, access_log=None))
        if as_application:
            runner = web.AppRunner(application(upstream, session), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        sys.stdout.write(f"{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--application", action="store_true")
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(args.upstream, args.port, as_application=args.application))


if __name__ == "__main__":
    main()
