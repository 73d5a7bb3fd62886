"""Settings as options of a command line."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.settings.data import Arithmetic, Source, Text, Translation
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.model import Model
from sequencematch.settings.noise import Noise
from sequencematch.settings.options import add_settings, options, settings_from
from sequencematch.settings.overheads import Overhead
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule

SECTIONS = [Arithmetic, Translation, Text, Noise, Model, Optimiser, Schedule, Objective, Rollouts, Evaluation, Overhead]


def parse(words, *sections, prefix=""):
    parser = script.parser("a script")
    for section in sections:
        add_settings(parser, section, prefix=prefix)
    args = parser.parse_args(words)
    return [settings_from(args, section, prefix) for section in sections]


@pytest.mark.parametrize("section", SECTIONS)
def test_options_left_out_take_the_defaults(section):
    assert parse([], section) == [section()]


@given(st.data())
def test_a_command_line_carries_settings_unchanged(data):
    """Through the shell's quoting, for any value of any type: text, numbers, tuples, truth values."""
    decoding = st.sampled_from(["sampled", "greedy", "top_p=0.95", "bkspc_bias=-1.5", "perturbed=1e-05"])
    texts = st.text().filter(lambda text: "\0" not in text)
    entropy = st.tuples(st.floats(0.1, 5), st.floats(5, 10))
    drawn = [
        Evaluation(
            decodings=data.draw(st.lists(decoding, min_size=1, max_size=4, unique=True)),
            split=data.draw(st.sampled_from(["validation", "test"])),
        ),
        Arithmetic(
            entropy=data.draw(entropy), seed=data.draw(st.integers(-(2**63), 2**63)), train=data.draw(st.integers(1))
        ),
        Model(source=data.draw(texts) + "/x"),
        Objective(alpha=data.draw(st.floats(1e-300, 1e300)), imitate_noise=data.draw(st.booleans())),
    ]
    for section in drawn:
        assert parse(shlex.split(options(section)), type(section)) == [section]


def test_sections_that_share_names_are_told_apart_by_a_prefix():
    """As a corpus's files and the sizes of its splits."""
    source = Source(kind="files", train=("a.en", "a b.fr"), separator="--+", licence="")
    parser = script.parser("a script")
    add_settings(parser, Text, {"train", "seed"})
    add_settings(parser, Source, prefix="source_")
    words = f"{options(Text(train=7, seed=-3), {'train', 'seed'})} {options(source, prefix='source_')}"
    args = parser.parse_args(shlex.split(words))
    assert settings_from(args, Source, "source_") == source
    assert settings_from(args, Text) == Text(train=7, seed=-3)
    with pytest.raises(UserError, match="--source-kind is 'web', but must be one of hub, files, generated"):
        parse(["--source-kind", "web"], Source, prefix="source_")


def test_what_has_one_value_is_no_option():
    assert "family" not in options(Translation()) and "family" in Translation.model_fields


def test_only_the_settings_asked_for_become_options():
    assert options(Objective(alpha=0.5), {"alpha", "imitate_noise"}) == "--alpha 0.5 --no-imitate-noise"


@pytest.mark.parametrize(
    ("words", "section", "sentence"),
    [
        ("--gamma 1", Objective, "--gamma is '1', but must be a number above 0 and below 1"),
        ("--alpha nan", Objective, "--alpha is 'nan', but must be a number above 0"),
        ("--divergence jss", Objective, "--divergence is 'jss', but must be one of kl, js, chi2, chi2_mixture, mle"),
        ("--train 2.5", Arithmetic, "--train is '2.5', but must be an integer at least 1"),
        ("--entropy 1", Arithmetic, "--entropy has too few values: it must be 2 values, each a number"),
        (
            "--decodings sampled top_p=1",
            Evaluation,
            "--decodings: 'top_p=1' is no decoding: top_p= takes a number above 0 and below 1",
        ),
        ("--decodings greedy greedy", Evaluation, "--decodings: greedy, greedy: each may stand there once"),
        ("--batch 32 --micro-batch 5", Optimiser, "batch (32) must be a multiple of micro_batch (5)"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(words, section, sentence):
    with pytest.raises(UserError) as caught:
        parse(words.split(), section)
    assert str(caught.value) == sentence


def test_help_states_default_bounds_and_meaning(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"], Objective)
    words = " ".join(capsys.readouterr().out.split())
    assert "--gamma X discount (a number above 0 and below 1; default: 0.95)" in words
    assert "(one of kl, js, chi2, chi2_mixture, mle; default: chi2_mixture)" in words
