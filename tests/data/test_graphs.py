"""Graphs: every answer is the arm that leads to the goal, and no graph is in two splits."""

from itertools import pairwise

import numpy as np
import pytest
from support.experiment import run

from sequencematch.data.arms import DEAD_END, GOAL, read_arms
from sequencematch.data.examples import load_examples
from sequencematch.data.graphs import generate
from sequencematch.data.tokenizer import load_tokenizer
from sequencematch.errors import UserError
from sequencematch.settings.data import LABELS, Graphs

SETTINGS = [
    Graphs(train=200, validation=20, test=20),
    Graphs(arms=4, labels=17, train=50, validation=9, test=9, seed=3),
    Graphs(test_arm_lengths=(3, 6), labels=13, lean=0.5, train=50, validation=9, test=30),
]


def right(prompt: str, answer: str) -> bool:
    """Whether the answer walks along edges of the question, from the start to the goal."""
    start, edges = prompt.rstrip("=").split(":")
    steps = [source + target for source, target in pairwise(start + answer + GOAL)]
    return bool(answer) and set(steps) <= set(edges.split("|"))


@pytest.mark.parametrize("data", SETTINGS)
def test_exactly_the_arm_that_leads_to_the_goal_is_right(data):
    for split in generate(data)[0].values():
        for prompt, answer in zip(split["prompt"], split["completion"], strict=True):
            arms = read_arms(prompt)
            assert [arm for arm, mark in arms.items() if mark == GOAL] == [answer]
            assert list(arms.values()).count(DEAD_END) == data.arms - 1 == len(arms) - 1
            wrong = [
                *(arm for arm in arms if arm != answer),
                answer[:-1],
                answer[1:],
                answer[::-1],
                answer + answer[-1],
            ]
            assert right(prompt, answer) and not any(right(prompt, other) for other in wrong)


@pytest.mark.parametrize("data", SETTINGS)
def test_nodes_are_distinct_and_arms_and_prompts_have_the_lengths_that_the_settings_name(data):
    splits = generate(data)[0]
    for split, named in ("train", data.arm_lengths), ("test", data.test_arm_lengths):
        shortest, longest = named if any(named) else data.arm_lengths
        assert {len(arm) for prompt in splits[split]["prompt"] for arm in read_arms(prompt)} == {
            *range(shortest, longest + 1)
        }
    rows = [row for split in splits.values() for row in zip(split["prompt"], split["graph"], strict=True)]
    for _prompt, graph in rows:
        nodes = graph.replace(" ", "")
        assert len(set(nodes)) == len(nodes) <= data.labels
    assert max(1 + len(prompt) for prompt, _ in rows) <= data.lengths[0]


def test_the_goal_leans_to_the_arm_with_the_lowest_label():
    splits = generate(Graphs(arms=4, labels=17, lean=0.6, train=400, validation=1, test=1))[0]
    lowest = [min(read_arms(p), key=lambda arm: LABELS.index(arm[0])) for p in splits["train"]["prompt"]]
    assert np.mean(np.array(lowest) == splits["train"]["completion"]) == pytest.approx(0.6 + 0.4 / 4, abs=0.07)


def test_no_graph_is_in_two_splits_in_another_order_of_its_edges_or_with_another_goal():
    splits, _ = generate(Graphs(arm_lengths=(1, 2), labels=5, train=60, validation=20, test=20))

    def edges(prompt):
        return frozenset(edge.translate({ord(GOAL): "*", ord(DEAD_END): "*"}) for edge in prompt[2:-1].split("|"))

    seen = [{edges(prompt) for prompt in split["prompt"]} for split in splits.values()]
    assert sum(map(len, seen)) == len(set.union(*seen))
    assert [len(split["prompt"]) for split in splits.values()] == [60, 20, 20]


def test_the_goal_is_as_often_at_the_first_edge_from_the_start_as_at_another():
    prompts = generate(Graphs(train=1000, validation=1, test=1))[0]["train"]["prompt"]
    first = [next(iter(read_arms(prompt).values())) == GOAL for prompt in prompts]
    assert abs(np.mean(first) - 0.5) < 4 * 0.5 / 1000**0.5


def test_the_seed_alone_decides():
    data = Graphs(train=30, validation=5, test=5, seed=7)
    assert generate(data) == generate(data)
    assert generate(data)[0] != generate(data.model_copy(update={"seed": 8}))[0]


def test_too_few_graphs_are_named():
    with pytest.raises(UserError, match="too few rows"):
        generate(Graphs(arm_lengths=(1, 1), labels=3, train=200, validation=1, test=1))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"labels": 8}, "must be at least 9"),
        ({"test_arm_lengths": (5, 5)}, "must be at least 11"),
        ({"arm_lengths": (4, 2)}, "arm_lengths .* is no range"),
        ({"test_arm_lengths": (0, 2)}, "test_arm_lengths .* is no range"),
        ({"arms": 1}, "greater than"),
    ],
)
def test_settings_that_make_no_graph_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Graphs(**wrong)


def test_every_token_of_a_question_is_a_character(tmp_path):
    """A label of two tokens, or two labels in one, would be no node."""
    data, tokenizer, examples = (tmp_path / name for name in ("data", "tokenizer", "examples"))
    settings = Graphs(arms=3, labels=13, train=40, validation=5, test=5).model_dump(exclude={"family"})
    run("make_graphs", **settings, output=data)
    run("train_tokenizer", source="scratch", data=data, output=tokenizer)
    run("encode_examples", context=128, data=data, tokenizer=tokenizer, output=examples)
    for example in load_examples(examples)[0]["train"]:
        text = load_tokenizer(tokenizer).decode(example.prompt)
        assert len(example.prompt) == 1 + len(text) <= Graphs(arms=3, labels=13).lengths[0]
        assert len(example.completion) == len(example.text) + 1
        assert read_arms(text)[example.text] == GOAL
