"""For tests of programs that use Equipoise: fake providers, and a fake server with the vendors' wire formats."""

from __future__ import annotations

from equipoise.testing.answers import Answer, Answering, Bill, usage_of
from equipoise.testing.providers import (
    FailingProvider,
    FakeUpstream,
    FlakyProvider,
    ScriptedProvider,
    SlowProvider,
    TruncatingProvider,
)
from equipoise.testing.servers import FakeOpenAIServer, FakeServer, Misbehaviour

__all__ = [
    "Answer",
    "Answering",
    "Bill",
    "FailingProvider",
    "FakeOpenAIServer",
    "FakeServer",
    "FakeUpstream",
    "FlakyProvider",
    "Misbehaviour",
    "ScriptedProvider",
    "SlowProvider",
    "TruncatingProvider",
    "usage_of",
]
