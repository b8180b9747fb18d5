"""Plan to outcome: calling models, with everything that can go wrong on the way.

work = Work(body=body, format="chat", asked=FORMATS["chat"].read(body), input_tokens=20)
running = await executor.run(plan, work, allowed=lambda model: True)
"""

from __future__ import annotations

from equipoise.execution.affinity import Session, Sessions, session_key
from equipoise.execution.cache import AnswerCache, Hit, ask_of
from equipoise.execution.executor import Executor, PlaceStatus
from equipoise.execution.failure import ExecutionFailed
from equipoise.execution.running import Running
from equipoise.execution.work import Work

__all__ = [
    "AnswerCache",
    "ExecutionFailed",
    "Executor",
    "Hit",
    "PlaceStatus",
    "Running",
    "Session",
    "Sessions",
    "Work",
    "ask_of",
    "session_key",
]
