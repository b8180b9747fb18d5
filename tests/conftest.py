"""What every test has: the gateway's event loop, and the same examples in every run.

Property-based tests draw the same examples each time, so a change is judged by what it changed.
``make fuzz`` draws new ones.
"""

import asyncio
import os
from collections.abc import Callable

import uvloop
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("EQUIPOISE_EXAMPLES", "same"))


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
