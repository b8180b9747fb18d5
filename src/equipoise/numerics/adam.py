"""Adam with decoupled weight decay, on named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from equipoise.types import Singles

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


@dataclass(slots=True)
class Adam:
    """Moments of the slopes so far. Weight decay spares biases: the names that begin with ``b``."""

    decay: float = 0.0
    steps: int = 0
    _mean: dict[str, Singles] = field(default_factory=dict)
    _square: dict[str, Singles] = field(default_factory=dict)

    def step(self, parameters: Mapping[str, Singles], slopes: Mapping[str, Singles], rate: float) -> None:
        """Move the parameters, in place, against their slopes."""
        self.steps += 1
        scale = np.float32(rate * np.sqrt(1 - _SECOND**self.steps) / (1 - _FIRST**self.steps))
        for name, slope in slopes.items():
            if name not in self._mean:
                self._mean[name], self._square[name] = np.zeros_like(slope), np.zeros_like(slope)
            mean, square = self._mean[name], self._square[name]
            mean += np.float32(1 - _FIRST) * (slope - mean)
            square += np.float32(1 - _SECOND) * (slope * slope - square)
            values = parameters[name]
            if self.decay and not name.startswith("b"):
                values -= np.float32(rate * self.decay) * values
            values -= scale * mean / (np.sqrt(square) + np.float32(_TINY))
