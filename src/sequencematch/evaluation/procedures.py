"""How questions are answered: a decoding, with perturbation or several attempts."""

from dataclasses import dataclass

from sequencematch.sampling.decoding import Decoding
from sequencematch.settings.decoding_names import CHOICES, KINDS_OF_WRONG, decoding_options


@dataclass(frozen=True)
class Procedure:
    """How a question is answered.

    A decoding; the rate at which its tokens are replaced by wrong ones, and the kind of these ('' is the kind of the
    training noise); how many answers are drawn on average, and how one of them is chosen (``best_of``: the most likely;
    ``majority``: the most frequent); the width of a beam search (0: none).
    """

    decoding: Decoding
    rate: float = 0.0
    kind: str = ""
    attempts: float = 1.0
    choice: str = ""
    beams: int = 0

    @property
    def draws(self) -> bool:
        """Whether two answers to a question may differ."""
        return self.decoding.temperature > 0 or self.rate > 0


def parse_decoding(name: str, max_actions: int) -> Procedure:
    """The procedure of a name such as ``top_p=0.95`` or ``greedy+perturbed=0.1``.

    Raises ValueError if it is no name of a decoding (``settings.decoding_names``).
    """
    options = decoding_options(name)
    perturbation = next((key for key in KINDS_OF_WRONG if key in options), "")
    choice = next((key for key in CHOICES if key in options), "")
    rate, attempts, beams = options.pop(perturbation, 0.0), options.pop(choice, 1.0), int(options.pop("beams", 0))
    kind = perturbation.removeprefix("perturbed").removeprefix("_")
    return Procedure(Decoding(max_actions, **options), rate, kind, attempts, choice, beams)
