"""A router trace: the experts that every token picks in every layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Picks = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class RouterTrace:
    """Which experts tokens pick, layer by layer."""

    picks: Picks
    """Expert numbers, without repetition for a token in a layer (shape: layers, tokens, top_k)."""
    experts: int
    """Experts of a layer."""

    @property
    def num_layers(self) -> int:
        """Layers of the model."""
        return int(self.picks.shape[0])

    @property
    def num_tokens(self) -> int:
        """Tokens of the trace; a run may need fewer."""
        return int(self.picks.shape[1])

    @property
    def top_k(self) -> int:
        """Experts that a token picks in a layer."""
        return int(self.picks.shape[2])

    @cached_property
    def popularity(self) -> Ints:
        """How many tokens of the whole trace pick each expert (shape: layers, experts)."""
        places = self.picks.reshape(self.num_layers, -1) + self.experts * np.arange(self.num_layers)[:, None]
        counts = np.bincount(places.ravel(), minlength=self.num_layers * self.experts)
        return counts.reshape(self.num_layers, self.experts)
