"""Who is calling, and what they may do."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

from equipoise.gateway.problems import Problem
from equipoise.storage.keys import DEFAULT_TENANT, PREFIX, KeyInfo, KeyStore

_PORT = re.compile(r":\d{1,5}$")
ANONYMOUS = KeyInfo("", "anonymous", DEFAULT_TENANT, frozenset({"call", "feedback", "read"}), 0.0)


class Gate:
    """Lets callers in by their key.

    Without ``required``, whoever reaches the port may do all but administrate. Then the port is on loopback, and
    a browser must not be led to it under a foreign name, so names other than localhost are refused.
    """

    def __init__(self, keys: KeyStore, *, required: bool, clock: Callable[[], float] = time.time) -> None:
        self._keys, self._required, self._clock = keys, required, clock

    def enter(self, headers: Mapping[str, str], scope: str | None) -> KeyInfo:
        """The caller, who has the scope.

        Raises:
            Problem: 401 without a valid key, 403 without the scope.
        """
        key = _key_in(headers)
        caller = None
        if key is not None and (self._required or key.startswith(PREFIX)):
            caller = self._keys.verify(key, self._clock())
            if caller is None:
                raise Problem(401, "invalid_api_key", "this API key is unknown, revoked or expired")
        if caller is None and scope is not None:
            if self._required or scope == "admin":
                raise Problem(401, "missing_api_key", "no API key; send Authorization: Bearer eq-... or x-api-key")
            if not is_local_name(headers.get("Host", "")):
                raise Problem(403, "foreign_host", "without keys only the names of this machine are served")
        caller = caller or ANONYMOUS
        if scope is not None and scope not in caller.scopes:
            raise Problem(403, "missing_scope", f"this API key lacks the scope '{scope}'")
        return caller


def _key_in(headers: Mapping[str, str]) -> str | None:
    if given := headers.get("Authorization"):
        kind, _, key = given.partition(" ")
        if kind.lower() != "bearer":
            key = "" if key else kind  # of another scheme it is a proxy's; without one it may be the key itself
        if key := key.strip():
            return key
    return headers.get("x-api-key") or headers.get("api-key")  # the last is Azure's


@lru_cache(maxsize=1024)
def is_local_name(host: str) -> bool:
    """Whether a Host header names a machine by address or as localhost: what no foreign name server answers."""
    name = _PORT.sub("", host).lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name[:1] == "[" and name[-1:] == "]" else name)
    except ValueError:
        return False
    return True
