"""Settings as options of a command line."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.settings.data import Arithmetic, Source, Text, Translation
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.explain import allowed
from sequencematch.settings.model import Model
from sequencematch.settings.noise import Noise
from sequencematch.settings.options import add_settings, option, options, settings_from
from sequencematch.settings.overheads import Overhead
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule

SECTIONS = [Arithmetic, Translation, Text, Noise, Model, Optimiser, Schedule, Objective, Rollouts, Evaluation, Overhead]


def parse(words, *sections, needed=None):
    parser = script.parser("a script")
    for section in sections:
        add_settings(parser, section)
    args = parser.parse_args(words)
    return [settings_from(args, section, needed) for section in sections]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_setting_that_is_needed_and_not_given_is_an_error(section):
    words = shlex.split(options(section()))
    assert parse(words, section) == [section()]
    for number, word in enumerate(words):
        if word.startswith("--"):
            end = next((n for n in range(number + 1, len(words)) if words[n].startswith("--")), len(words))
            name = word.removeprefix("--").partition("=")[0].partition(".")[2]
            left = words[:number] + words[end:]
            with pytest.raises(UserError) as caught:
                parse(left, section)
            assert str(caught.value) == f"{option(section, name)} is missing: it must be {allowed(section, name)}"
            assert parse(left, section, needed=section.model_fields.keys() - {name}) == [section()]
    with pytest.raises(UserError, match=r"^--\w+\.\w+, .* are missing: give each a value \(see --help\)$"):
        parse([], section)


@settings(max_examples=25)
@given(st.data())
def test_a_command_line_carries_settings_unchanged(data):
    """Through the shell's quoting, for any value of any type: text, numbers, tuples, truth values."""
    decoding = st.sampled_from(["sampled", "greedy", "top_p=0.95", "bkspc_bias=-1.5", "perturbed=1e-5"])
    texts = st.text().filter(lambda text: "\0" not in text)
    entropy = st.tuples(st.floats(0.1, 5), st.floats(5, 10))
    drawn = [
        Evaluation(
            decodings=data.draw(st.lists(decoding, min_size=1, max_size=4, unique=True)),
            split=data.draw(st.sampled_from(["validation", "test"])),
        ),
        Arithmetic(
            entropy=data.draw(entropy),
            seed=data.draw(st.integers(-(2**63), 2**63)),
            train=data.draw(st.integers(1, 10**8)),
        ),
        Model(source=data.draw(texts) + "/x"),
        Objective(alpha=data.draw(st.floats(1e-300, 1e300)), imitate_noise=data.draw(st.booleans())),
    ]
    for section in drawn:
        assert parse(shlex.split(options(section)), type(section)) == [section]


def test_sections_that_share_names_keep_apart():
    """As a corpus's files and the sizes of its splits."""
    source = Source(kind="files", train=("a.en", "a b.fr"), separator="--+", licence="")
    parser = script.parser("a script")
    add_settings(parser, Text, {"train", "seed"})
    add_settings(parser, Source)
    args = parser.parse_args(shlex.split(f"{options(Text(train=7, seed=-3), {'train', 'seed'})} {options(source)}"))
    assert settings_from(args, Source) == source
    assert settings_from(args, Text, {"train", "seed"}) == Text(train=7, seed=-3)


def test_what_has_one_value_is_no_option():
    assert "family" not in options(Translation()) and "family" in Translation.model_fields


def test_only_the_settings_asked_for_become_options():
    assert options(Objective(alpha=0.5), {"alpha", "imitate_noise"}) == (
        "--objective.alpha 0.5 --objective.imitate_noise false"
    )


@pytest.mark.parametrize(
    ("words", "section", "sentence"),
    [
        ("--objective.gamma 1", Objective, "--objective.gamma is '1', but must be a number above 0 and below 1"),
        ("--data.entropy 1", Arithmetic, "--data.entropy has too few values: it must be 2 values, each a number"),
        (
            "--optimiser.batch 32 --optimiser.micro_batch 5",
            Optimiser,
            "batch (32) must be a multiple of micro_batch (5)",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(words, section, sentence):
    with pytest.raises(UserError) as caught:
        parse(words.split(), section, needed=())
    assert str(caught.value) == sentence


def test_help_states_bounds_and_meaning(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"], Objective)
    words = " ".join(capsys.readouterr().out.split())
    assert "--objective.gamma X discount (a number above 0 and below 1)" in words
    assert "(one of kl, js, chi2, chi2_mixture, mle)" in words
