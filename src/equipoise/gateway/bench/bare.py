"""A bare proxy on the HTTP libraries that the gateway uses: it parses the JSON, rewrites the model, and passes it on.

The least that any gateway in Python on these libraries costs.

python -m equipoise.gateway.bench.bare --upstream http://127.0.0.1:PORT     prints its port
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import aiohttp
import orjson
from aiohttp import web


class Bare:
    """One handler."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = upstream + "/v1/chat/completions", session

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a chat completion on."""
        body = orjson.loads(await request.read())
        body["model"] = "canned"
        headers = {"Content-Type": "application/json", "Authorization": "Bearer upstream"}
        async with self._session.post(self._url, data=orjson.dumps(body), headers=headers) as answer:
            if body.get("stream"):
                return await _stream(request, answer)
            content = await answer.read()
            orjson.loads(content)
            return web.Response(status=answer.status, body=content, content_type="application/json")


async def _stream(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


async def serve(upstream: str, port: int) -> None:
    """Serve until killed; the first line of standard output is the port."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        runner = web.ServerRunner(web.Server(Bare(upstream, session).handle, access_log=None))
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
    args = parser.parse_args()
    asyncio.run(serve(args.upstream, args.port))


if __name__ == "__main__":
    main()
