"""The learning rate and the weight of BC at each step of a stage."""

import math
from dataclasses import dataclass

from sequencematch.settings.training import Optimiser, Schedule


@dataclass(frozen=True)
class Stage:
    """Steps [start, stop) of a schedule in which the cosine decay runs from ``decay_start`` to ``total``."""

    loss: str
    start: int
    stop: int
    decay_start: int
    total: int

    def learning_rate(self, step: int, settings: Optimiser) -> float:
        """Linear warm-up, then constant, then cosine decay to 0 at ``total`` (appendix E)."""
        warm = min(1.0, (step + 1) / max(1, settings.warmup))
        done = max(0, step - self.decay_start) / max(1, self.total - self.decay_start)
        return settings.learning_rate * warm * (1 + math.cos(math.pi * done)) / 2

    def beta(self, step: int, schedule: Schedule) -> float:
        """The weight of BC in beta L_BC + (1 - beta) L_SM: 1 at the stage's start, then falling linearly."""
        done = min(1.0, (step - self.start) / schedule.beta_steps)
        return (1 - done) + schedule.beta_final * done
