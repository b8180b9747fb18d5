"""The spend cap: money is reserved before a call and settled after it, so that calls in flight count."""

from __future__ import annotations

import asyncio


class Budget:
    """Money spent and reserved against a cap. One event loop; no cap when ``cap_usd`` is None."""

    def __init__(self, cap_usd: float | None, *, spent_usd: float = 0.0) -> None:
        self.cap_usd, self.spent_usd, self.reserved_usd = cap_usd, spent_usd, 0.0
        self._settled = asyncio.Condition()

    async def reserve(self, most_usd: float) -> bool:
        """Set aside the most that a call can cost. Waits while calls in flight may still free enough.

        Returns:
            False when the call does not fit although nothing is in flight: the cap is reached.
        """
        if self.cap_usd is None or most_usd == 0:
            self.reserved_usd += most_usd
            return True
        async with self._settled:
            while self.spent_usd + self.reserved_usd + most_usd > self.cap_usd:
                # Sums of many small floats do not come back to exactly zero.
                if self.spent_usd + most_usd > self.cap_usd or self.reserved_usd < 1e-12:
                    return False
                await self._settled.wait()
            self.reserved_usd += most_usd
            return True

    async def settle(self, most_usd: float, spent_usd: float) -> None:
        """Turn a reservation into what was really spent."""
        self.reserved_usd = max(0.0, self.reserved_usd - most_usd)
        self.spent_usd += spent_usd
        async with self._settled:
            self._settled.notify_all()
