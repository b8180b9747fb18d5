"""The worker process of the ``gguf`` provider: serves one model file on loopback until its parent is gone.

Run as a script by ``providers.gguf``, so it imports nothing of Equipoise. One line of JSON settings comes in
on standard input, one line of JSON goes out on standard output; the end of standard input ends the process.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import xllamacpp


def _server(settings: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    # Answers name it, and would name the path of the file without it.
    params.model_alias = {settings["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context"] * settings["slots"]
    params.verbosity = 0
    params.ui = False
    if settings["threads"]:
        params.cpuparams.n_threads = settings["threads"]
        params.cpuparams_batch.n_threads = settings["threads"]
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until standard input ends."""
    settings = json.loads(sys.stdin.readline())
    out = os.dup(1)
    # Native code writes to file descriptor 1 as it likes; the answer line must stand alone.
    os.dup2(2, 1)
    try:
        server = _server(settings)
        answer = {"url": server.listening_address}
    except (RuntimeError, ValueError, AttributeError) as error:
        answer = {"error": " ".join(str(error).split()) or type(error).__name__}
    os.write(out, (json.dumps(answer) + "\n").encode())
    if "url" in answer:
        sys.stdin.read()
    # Native threads may be in the middle of a call that nobody waits for.
    os._exit(0)


if __name__ == "__main__":
    main()
