"""Providers by deployment. They outlive a reload: connections stay open, local models stay loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict

import orjson

from equipoise.contracts import Provider
from equipoise.providers.client import Client
from equipoise.types import Deployment


class ProviderPool:
    """Opens the provider of a deployment once.

    Args:
        make: makes the provider of a deployment.
    """

    def __init__(self, make: Callable[[Deployment], Provider]) -> None:
        self._make = make
        self._open: dict[bytes, Provider] = {}

    def get(self, deployment: Deployment) -> Provider:
        """The provider of a deployment.

        Raises:
            InputError: the deployment cannot be used as it is configured.
        """
        key = _key(deployment)
        if key not in self._open:
            self._open[key] = self._make(deployment)
        return self._open[key]

    def lacking(self) -> list[str]:
        """What the providers lack to be called: keys that are not there now, and may be when they are needed."""
        found = (provider.lacks() for provider in self._open.values() if isinstance(provider, Client))
        return sorted({said for said in found if said is not None})

    async def keep_only(self, deployments: Iterable[Deployment]) -> None:
        """Close the providers of all other deployments."""
        kept = {_key(d) for d in deployments}
        # All are let go of before the first is closed: a reload may ask for one of them meanwhile.
        gone = [self._open.pop(key) for key in [*self._open] if key not in kept]
        for provider in gone:
            await provider.close()

    async def close(self) -> None:
        """Close all."""
        await self.keep_only(())


def _key(deployment: Deployment) -> bytes:
    # Its weight and limits do not matter to how it is called.
    fields = asdict(deployment)
    for name in ("weight", "rpm", "tpm", "region"):
        fields.pop(name)
    return orjson.dumps(fields, default=str, option=orjson.OPT_SORT_KEYS)
