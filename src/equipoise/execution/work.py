"""What is to be executed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from equipoise.types import WireFormat
from equipoise.wire import Asked, Body


class Work(NamedTuple):
    """One request to execute.

    Attributes:
        body: as the client sent it, in ``format``. It is never changed.
        size: how many bytes the client sent.
        input_tokens: our count of all that is sent: for tpm limits, and for the bill where a provider is silent.
        region: where the data may go; None is anywhere.
        deadline_s: the client's own limit for all of it.
        total_s: what is left of the gateway's limit, where other calls were made before; None for all of it.
        prefer: label of the deployment that holds the conversation in its prompt cache.
        answered_by: the model that answered the turn before, where known.
        answered_at: label of the deployment that did.
        mixed: the turns before are of several models.
        translated: the client speaks another format than that of ``body``.
        headers: the client's, of those that a provider may pass on.
    """

    body: Body
    format: WireFormat
    asked: Asked
    input_tokens: int
    region: str | None = None
    deadline_s: float | None = None
    total_s: float | None = None
    prefer: str | None = None
    answered_by: str | None = None
    answered_at: str | None = None
    mixed: bool = False
    size: int = 0
    translated: bool = False
    headers: Mapping[str, str] = MappingProxyType({})
