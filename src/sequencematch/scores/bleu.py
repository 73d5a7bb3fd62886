"""BLEU and chrF of translations, by sacrebleu, with the counts that make BLEU of any resampled corpus exact.

A sentence's sufficient statistics are ten counts: tokens of the translation and of its reference, matching
n-grams of orders 1 to 4, and n-grams of the translation of orders 1 to 4. BLEU is a function of their sums alone.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

ORDERS = 4
STATISTICS = 2 + 2 * ORDERS


def translation_scores(translations: Sequence[str], references: Sequence[str]) -> dict:
    """Corpus ``bleu`` and ``chrf`` (0 to 100), their ``signature``s, and ``statistics``, ten counts a sentence."""
    from sacrebleu.metrics import CHRF

    bleu, chrf, against = _bleu(), CHRF(), [list(references)]
    scores = {"bleu": bleu.corpus_score(translations, against).score}
    scores |= {"chrf": chrf.corpus_score(translations, against).score}
    return {
        **scores,
        "signature": {name: str(metric.get_signature()) for name, metric in (("bleu", bleu), ("chrf", chrf))},
        "statistics": bleu._extract_corpus_statistics(translations, against),
    }


def corpus_bleu(totals: np.ndarray) -> np.ndarray:
    """BLEU, float [...], of corpora whose sentences' statistics sum to ``totals``, [..., 10]."""
    bleu, flat = _bleu(), np.rint(totals).astype(int).reshape(-1, STATISTICS).tolist()
    return np.array([bleu._compute_score_from_stats(counts).score for counts in flat]).reshape(totals.shape[:-1])


@cache
def _bleu():
    from sacrebleu.metrics import BLEU

    return BLEU()
