"""BLEU's tokens follow the language, and translations are compared in one Unicode form."""

import unicodedata
from importlib.util import find_spec

import numpy as np
import pytest
import sacrebleu

from sequencematch.errors import UserError
from sequencematch.results.bleu import corpus_bleu, tokenizer_of, translation_scores

CHINESE = ["今天天气很好，我们去公园散步。", "他在图书馆看书。"]
ALMOST = ["今天天气不好，我们去公园散步。", "他在图书馆看报。"]
FRENCH = ["Où est l’été, mon ami ?", "Il l’a déjà dit à sa mère."]


@pytest.mark.parametrize("language", ["zh", "zh-CN", "zh_Hant", "zho_Hans", "cmn", "cn", "ZH", "Chinese"])
def test_chinese_is_cut_into_characters_and_the_signature_says_so(language):
    found = translation_scores(ALMOST, CHINESE, language)
    expected = sacrebleu.corpus_bleu(ALMOST, [CHINESE], tokenize="zh").score
    assert found["bleu"] == pytest.approx(expected) and expected > 50 and "|tok:zh|" in found["signature"]["bleu"]
    assert translation_scores(ALMOST, CHINESE)["bleu"] < 30, "of whole sentences hardly one token is right"
    assert corpus_bleu(np.sum(found["statistics"], axis=0)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("fr", "13a"),
        (None, "13a"),
        ("de", "13a"),
        ("ja", "ja-mecab"),
        ("jpn_Jpan", "ja-mecab"),
        ("ko", "ko-mecab"),
        ("kor", "ko-mecab"),
        ("th", "char"),
        ("khm_Khmr", "char"),
        ("my", "char"),
        ("lo", "char"),
    ],
)
def test_the_tokenizer_of_a_language(language, tokenizer):
    assert tokenizer_of(language) == tokenizer


@pytest.mark.parametrize(("language", "module"), [("ja", "MeCab"), ("ko", "mecab_ko")])
def test_a_language_whose_tokenizer_is_not_installed_is_refused_in_one_sentence(language, module):
    if find_spec(module):
        assert f"|tok:{language}-mecab" in translation_scores(["a b"], ["a b"], language)["signature"]["bleu"]
        return
    with pytest.raises(UserError, match=rf"pip install 'sacrebleu\[{language}\]'"):
        translation_scores(["a b"], ["a b"], language)


@pytest.mark.parametrize("hypothesis", ["NFC", "NFD"])
@pytest.mark.parametrize("reference", ["NFC", "NFD"])
def test_unicode_forms_make_no_difference(hypothesis, reference):
    def texts(form):
        return [unicodedata.normalize(form, text) for text in FRENCH]

    found = translation_scores(texts(hypothesis), texts(reference), "fr")
    assert found["bleu"] == pytest.approx(100) and found["chrf"] == pytest.approx(100)
