"""A metrics.json whose parts contradict each other, or whose values cannot be, is refused wherever it is read."""

import json

import pytest

from sequencematch.errors import UserError
from sequencematch.results.bleu import translation_scores
from sequencematch.results.metrics_file import read_metrics
from sequencematch.results.runs import read_comparison, read_runs

ARITHMETIC = {
    "n": 4,
    "correct": "0110",
    "accuracy": 0.5,
    "pops_per_sequence": 0.5,
    "wrong_pop_share": 0.5,
    "cut_off_share": 0.25,
}
BLEU = translation_scores(["a b c d e", "f g h i j", "k", "l m"], ["a b c d e", "f g h x j", "k", "l n"])
TRANSLATION = {"n": 4, **BLEU}
REPAIR = {
    "repair_rate": 0.4,
    "false_alarm_rate": 0.1,
    "per_example": {"corrupted": {"0": 0.3, "2": 0.5}, "clean": {"0": 0.1}},
}


def metrics(decoding, repair=REPAIR, **changes):
    sound = {"method": "sm", "eta": 0.2, "seed": 1, "task": "mul", "scale": "s", "family": "arithmetic"}
    return sound | {"decodings": {"sampled": decoding}, "repair": {"random": repair}} | changes


SOUND = [metrics(ARITHMETIC), metrics(TRANSLATION, family="translation"), metrics(ARITHMETIC, repair=REPAIR)]
CONTRADICTORY = [
    metrics(ARITHMETIC | {"correct": "01"}),
    metrics(ARITHMETIC | {"correct": "0112"}),
    metrics(ARITHMETIC | {"accuracy": 0.75}),
    metrics(ARITHMETIC | {"cut_off_share": 0.75}),
    metrics(ARITHMETIC | {"pops_per_sequence": 0}),
    metrics(ARITHMETIC | {"n": 0}),
    metrics(ARITHMETIC | {"n": "4"}),
    metrics(ARITHMETIC | {"n": 4.5}),
    metrics(ARITHMETIC | {"accuracy": -0.5}),
    metrics(ARITHMETIC | {"accuracy": "high"}),
    metrics(ARITHMETIC | {"accuracy": True}),
    metrics(TRANSLATION | {"n": 3}),
    metrics(TRANSLATION | {"bleu": 99.0}),
    metrics(TRANSLATION | {"chrf": 101.0}),
    metrics(TRANSLATION | {"statistics": [[1] * 9] * 4}),
    metrics(TRANSLATION | {"statistics": "1234"}),
    metrics(ARITHMETIC, REPAIR | {"repair_rate": 0.9}),
    metrics(ARITHMETIC, REPAIR | {"false_alarm_rate": 2}),
    metrics(ARITHMETIC, decodings={"sampled": ARITHMETIC, "greedy": {"n": 5}}),
    metrics(ARITHMETIC, decodings=[]),
    metrics(ARITHMETIC, decodings={"sampled": None}),
    metrics(ARITHMETIC, decodings={"<script>": ARITHMETIC}),
    metrics(ARITHMETIC, held_out={"nll": 1.0, "per_example": [1.0]}),
    metrics(ARITHMETIC, eta=1.5),
    metrics(ARITHMETIC, seed="one"),
    metrics(ARITHMETIC, family="poetry"),
]


@pytest.mark.parametrize("content", SOUND)
def test_sound_metrics_come_back_as_they_are(tmp_path, content):
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    assert read_metrics(tmp_path / "metrics.json") == content


@pytest.mark.parametrize("content", CONTRADICTORY)
def test_contradictory_metrics_are_refused_by_every_reader(tmp_path, content):
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps(content))
    for read in (read_metrics, lambda path: read_runs([path]), lambda path: read_comparison([path])):
        with pytest.raises(UserError, match="holds no sound metrics") as caught:
            read(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
