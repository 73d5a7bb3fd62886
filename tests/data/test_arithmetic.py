"""Questions are the generator's, right, reproducible, and split by what they ask."""

import re
from decimal import Decimal
from typing import get_args

import pytest

from sequencematch.data.arithmetic import TASKS, generate
from sequencematch.errors import UserError
from sequencematch.settings.data import Arithmetic

SIZES = {"train": 200, "validation": 30, "test": 30}
ENTROPY = {"add_or_sub_in_base": (1, 2), "mul": (1, 3), "list_prime_factors": (1, 4)}
DATA = {name: Arithmetic(generator=name, entropy=entropy, **SIZES) for name, entropy in ENTROPY.items()}


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    return request.param, generate(DATA[request.param])


def in_base(text: str, base: int) -> int:
    """An integer from its digits, one by one."""
    value = 0
    for digit in text.removeprefix("-"):
        assert 0 <= int(digit) < base
        value = value * base + int(digit)
    return -value if text.startswith("-") else value


def asked(name: str, question: str) -> tuple:
    """What a question asks, read word by word: the numbers in order of size, before them the base if one is named.

    p - q is p + (-q).
    """
    if name == "add_or_sub_in_base":  # In base 7, what is 12 - -3?
        words = question.removesuffix("?").split()
        base, p, sign, q = int(words[2].strip(",")), words[5], words[6], words[7]
        p, q = in_base(p, base), in_base(q, base)
        return base, *sorted([p, q if sign == "+" else -q])
    words = question.replace("*", " ").split()
    return tuple(sorted(Decimal(word.rstrip(".?")) for word in words if any(c.isdigit() for c in word)))


def test_registry_and_settings_agree():
    assert set(TASKS) == set(get_args(Arithmetic.model_fields["generator"].annotation))


def test_sizes_texts_and_columns(task):
    _, splits = task
    assert {name: len(split["question"]) for name, split in splits.items()} == SIZES
    for split in splits.values():
        assert set(split) == {"question", "solution", "prompt", "completion", "base", "operands"}
        assert split["prompt"] == [f"{question} Solution: " for question in split["question"]]
        assert split["completion"] == split["solution"]


def test_no_question_twice_and_no_operands_in_two_splits(task):
    name, splits = task
    questions = [question for split in splits.values() for question in split["question"]]
    assert len(set(questions)) == len(questions)
    operands = {split: [asked(name, question) for question in columns["question"]] for split, columns in splits.items()}
    assert set(operands["train"]).isdisjoint(operands["validation"])
    assert set(operands["train"]).isdisjoint(operands["test"])
    assert set(operands["validation"]).isdisjoint(operands["test"])
    for held_out in ("validation", "test"):  # independent questions: no operands twice
        assert len(set(operands[held_out])) == len(operands[held_out])
    # The stored keys draw the same lines as this test's own reading.
    pairs = {(a, b) for split in splits for a, b in zip(operands[split], splits[split]["operands"], strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_wordings_of_the_same_operands_are_in_training():
    splits = generate(DATA["mul"])
    assert len(set(splits["train"]["operands"])) < len(splits["train"]["operands"])


def test_solutions_are_right(task):
    name, splits = task
    for split in splits.values():
        for question, solution, base in zip(split["question"], split["solution"], split["base"], strict=True):
            if name == "add_or_sub_in_base":
                stated, p, q = asked(name, question)
                assert base == stated <= 10
                assert in_base(solution, base) == p + q
            elif name == "mul":
                p, q = asked(name, question)
                assert base == 10
                assert Decimal(solution) == p * q
            else:
                (number,) = map(int, asked(name, question))
                primes = [d for d in range(2, number + 1) if number % d == 0 and all(d % e for e in range(2, d))]
                assert solution == ", ".join(map(str, primes))


def test_all_bases_up_to_ten_occur():
    assert set(generate(DATA["add_or_sub_in_base"])["train"]["base"]) == set(range(2, 11))


def test_workers_do_not_change_the_questions():
    assert generate(DATA["mul"], workers=1) == generate(DATA["mul"], workers=3)


def test_seed_changes_the_questions():
    other = DATA["mul"].model_copy(update={"seed": 1})
    assert generate(DATA["mul"])["train"] != generate(other)["train"]


def test_a_range_with_too_few_questions_says_what_it_yields():
    # At (1, 2) the generator asks for the integers 2 to 102, in two wordings.
    with pytest.raises(UserError) as error:
        generate(Arithmetic(generator="list_prime_factors", entropy=(1, 2), train=500, validation=10, test=10))
    questions, operands = map(
        int, re.search(r"(\d+) distinct questions over (\d+) distinct operands", str(error.value)).groups()
    )
    assert 150 <= questions <= 2 * 101
    assert 80 <= operands <= 101
    assert "widen the range or lower these sizes" in str(error.value)


def test_held_out_operands_are_counted_before_training_examples():
    # 60 + 30 of the 101 operands are held out; what is left, in two wordings, makes up the training split.
    sizes = {"train": 15, "validation": 60, "test": 30}
    with pytest.raises(UserError, match="distinct operands"):
        generate(Arithmetic(generator="list_prime_factors", entropy=(1, 2), **sizes | {"validation": 90}))
    splits = generate(Arithmetic(generator="list_prime_factors", entropy=(1, 2), **sizes | {"validation": 30}))
    assert len({key for split in splits.values() for key in split["operands"]}) >= 60
