"""An upstream that answers every chat completion with the same bytes, as fast as Python can: it must not be the limit.

python -m equipoise.gateway.bench.canned --port 0 [--chunks N] [--pause-s S]     prints its port
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import cast

import orjson

_USAGE = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer() -> bytes:
    """The whole response to a call that does not stream."""
    message = {"role": "assistant", "content": "The quick brown fox jumps over the lazy dog, again."}
    document = {
        "id": "chatcmpl-canned",
        "object": "chat.completion",
        "created": 1,
        "model": "canned",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
    body = orjson.dumps(document)
    return _HEAD % (len(body), body)


def stream_frames(chunks: int) -> list[bytes]:
    """The events of a streamed answer, numbered so that one lost, doubled or out of order shows."""
    frames = [_chunk({"role": "assistant", "content": ""})]
    frames += [_chunk({"content": f" {i}"}) for i in range(chunks)]
    frames.append(_chunk({}, finish="stop"))
    frames.append(_framed({"choices": [], "usage": {**_USAGE, "completion_tokens": chunks}}))
    frames.append(b"data: [DONE]\n\n")
    return frames


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _framed({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _framed(fields: dict[str, object]) -> bytes:
    head = {"id": "chatcmpl-canned", "object": "chat.completion.chunk", "created": 1, "model": "canned"}
    return b"data: " + orjson.dumps({**head, **fields}) + b"\n\n"


class Canned(asyncio.Protocol):
    """One connection."""

    def __init__(self, whole: bytes, frames: list[bytes], pause_s: float) -> None:
        self._whole, self._pause_s = whole, pause_s
        self._frames = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames]
        self._held = b""
        self._streams: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._held) < end + 4 + length:
                return
            body, self._held = self._held[end + 4 : end + 4 + length], self._held[end + 4 + length :]
            if b'"stream":true' in body or b'"stream": true' in body:
                task = asyncio.get_running_loop().create_task(self._stream())
                self._streams.add(task)
                task.add_done_callback(self._streams.discard)
            else:
                self._transport.write(self._whole)

    async def _stream(self) -> None:
        self._transport.write(_STREAM_HEAD)
        for frame in self._frames:
            if self._pause_s:
                await asyncio.sleep(self._pause_s)
            if self._transport.is_closing():
                return
            self._transport.write(frame)
        self._transport.write(b"0\r\n\r\n")


async def serve(port: int, *, chunks: int, pause_s: float) -> None:
    """Serve until killed; the first line of standard output is the port."""
    whole, frames = answer(), stream_frames(chunks)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Canned(whole, frames, pause_s), "127.0.0.1", port, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--pause-s", type=float, default=0.0)
    args = parser.parse_args()
    asyncio.run(serve(args.port, chunks=args.chunks, pause_s=args.pause_s))


if __name__ == "__main__":
    main()
