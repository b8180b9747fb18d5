"""Reading the configuration again while requests are being served.

A new configuration is made ready beside the old one, then takes its place for the requests that come from then on.
One that cannot be used changes nothing. What belongs to the process (``server``, ``storage``, ``traces``, the log's
retention) stays as it was until the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from equipoise.config import Config, located, read_config
from equipoise.errors import ConfigError, EquipoiseError
from equipoise.execution.cache import threshold_of
from equipoise.gateway.allowances import EVERY_OTHER
from equipoise.gateway.own_threads import in_own_thread
from equipoise.gateway.pool import ProviderPool
from equipoise.gateway.serving import Serving, Stamp, file_stamp, follow, make_serving, watched_files
from equipoise.gateway.state import Gateway, Live
from equipoise.storage.keys import DEFAULT_TENANT

_FIXED = ("server", "storage", "shared_state", "traces")
_RETIRED_LOOK_S = 1.0
MakeLive = Callable[[Serving, Live | None], Live]
Stamps = dict[Path, Stamp | None]


class Reloader:
    """Keeps a gateway on its configuration file.

    Args:
        path: the file.
        make_live: makes a configuration executable; takes over from the one before.
        seen: the stamps of the files before routes were made from them: a change while a router learns is a change.
    """

    def __init__(self, gateway: Gateway, path: Path, pool: ProviderPool, make_live: MakeLive, *, seen: Stamps) -> None:
        self._gateway, self._path, self._pool, self._make_live = gateway, path, pool, make_live
        self._lock = asyncio.Lock()
        self._began = gateway.live.serving.config  # what `_FIXED` of it the process keeps
        self._seen = self._looked = seen
        self._retired: list[Live] = []

    async def reload(self) -> str | None:
        """Read the configuration again. Returns what is wrong with it, or None when it is served."""
        async with self._lock:
            # Taken before reading: what changes from here on is seen at the next look.
            self._seen = self._stamps()
            before = self._gateway.live
            try:
                serving = await in_own_thread(partial(self._read, before.serving))
                live = self._make_live(serving, before)
            except EquipoiseError as error:
                said = await asyncio.to_thread(located, error, self._path)  # which reads the file again
                return self._refused(error.code, " ".join(said.split()))
            except (Exception, SystemExit) as error:  # noqa: BLE001  (routers can be anyone's code, and learn from any table)
                self._gateway.lines.failed("the new configuration fails", error)
                return self._refused("failed", f"{type(error).__name__} while it was made ready; see the log")
            self._replace(before, live)
            return None

    def _refused(self, code: str, reason: str) -> str:
        gateway = self._gateway
        gateway.trouble = reason
        gateway.metrics.count("reloads", "refused")
        gateway.lines.say("configuration not reloaded", level="error", code=code, reason=reason)
        return reason

    def _replace(self, before: Live, live: Live) -> None:
        gateway = self._gateway
        # Not before: making ready may take minutes, in which bills come.
        follow(live.serving, before.serving, gateway.lines)
        gateway.live, gateway.trouble = live, None
        gateway.allowances.limit(live.serving.config.tenants)
        self._retired.append(before)
        self._seen = {path: self._seen.get(path, stamp) for path, stamp in self._stamps().items()}
        gateway.metrics.count("reloads", "done")
        gateway.lines.say("configuration reloaded", routes=[r.name for r in live.serving.routes])
        self._tell_fixed(live.serving.config)
        self.tell_doubts()

    def tell_doubts(self) -> None:
        """Tell of what may be other than it was meant, and of keys of providers that are not there."""
        for doubt in self._gateway.live.serving.doubts:
            self._gateway.lines.say("other than meant", level="warning", reason=doubt)
        tenants = {EVERY_OTHER, DEFAULT_TENANT} | {info.tenant for info in self._gateway.keys.keys()}
        for tenant in sorted(self._gateway.live.serving.config.tenants.keys() - tenants):
            reason = f"tenant '{tenant}' has limits and no key; name a tenant of: equipoise keys list"
            self._gateway.lines.say("other than meant", level="warning", reason=reason)
        for lack in self._pool.lacking():
            self._gateway.lines.say("provider cannot be called", level="warning", reason=lack)

    def _read(self, before: Serving) -> Serving:
        serving = make_serving(read_config(self._path), self._path.parent, before=before)
        for route in serving.routes:
            with suppress(ConfigError):  # it is told where the cache is made, which then only looks it up
                threshold_of(route.settings.cache)
        return serving

    def _tell_fixed(self, now: Config) -> None:
        changed = [name for name in _FIXED if getattr(self._began, name) != getattr(now, name)]
        if self._began.log.retention_days != now.log.retention_days:
            changed.append("log.retention_days")
        if changed:
            self._gateway.lines.say("changed for the next start only", level="warning", settings=changed)

    async def watch(self, every_s: float) -> None:
        """Look for changes of the files, and let go of what no request uses any more, until cancelled."""
        while True:
            await asyncio.sleep(every_s or _RETIRED_LOOK_S)
            if every_s:
                await self.look()
            await self._release()

    async def heed(self, wish: asyncio.Event) -> None:
        """Read the configuration again whenever that is wished, until cancelled."""
        while True:
            await wish.wait()
            wish.clear()  # before: what is wished meanwhile may be for what was written meanwhile
            await self.reload()

    async def look(self) -> None:
        """Read the configuration again if a file changed, and no longer does: it may be half written yet."""
        found = self._stamps()
        if found != self._seen and found == self._looked:
            await self.reload()
        self._looked = found

    async def _release(self) -> None:
        if not self._retired:
            return
        self._retired = [live for live in self._retired if live.users]
        used = [self._gateway.live, *self._retired]
        await self._pool.keep_only(d for live in used for m in live.serving.models.values() for d in m.deployments)

    def _stamps(self) -> Stamps:
        return stamps_of(self._gateway.live.serving.config, self._path)


def stamps_of(config: Config, path: Path) -> Stamps:
    """The stamps of a configuration's file, and of those that its routes are made from."""
    return {file: file_stamp(file) for file in (path, *watched_files(config, path.parent))}
