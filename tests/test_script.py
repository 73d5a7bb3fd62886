"""Settings as options of a command line, and errors as one sentence."""

import errno
import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.settings import section as settings
from sequencematch.settings.section import (
    Arithmetic,
    Evaluation,
    Model,
    Objective,
    Optimiser,
    Section,
    Source,
    Text,
    Translation,
)

SECTIONS = [s for s in vars(settings).values() if isinstance(s, type) and issubclass(s, Section) and s is not Section]


def parse(words, *sections, prefix=""):
    parser = script.parser("a script")
    for section in sections:
        script.add_settings(parser, section, prefix=prefix)
    args = parser.parse_args(words)
    return [script.settings_from(args, section, prefix) for section in sections]


@pytest.mark.parametrize("section", [section for section in SECTIONS if section is not Source])  # a source has a name
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
        assert parse(shlex.split(script.options(section)), type(section)) == [section]


def test_sections_that_share_names_are_told_apart_by_a_prefix():
    """As a corpus's files and the sizes of its splits."""
    source = Source(kind="files", train=("a.en", "a b.fr"), separator="--+", licence="")
    parser = script.parser("a script")
    script.add_settings(parser, Text, {"train", "seed"})
    script.add_settings(parser, Source, prefix="source_")
    words = f"{script.options(Text(train=7, seed=-3), {'train', 'seed'})} {script.options(source, prefix='source_')}"
    args = parser.parse_args(shlex.split(words))
    assert script.settings_from(args, Source, "source_") == source
    assert script.settings_from(args, Text) == Text(train=7, seed=-3)
    with pytest.raises(UserError, match="--source-kind is 'web', but must be one of hub, files, generated"):
        parse(["--source-kind", "web"], Source, prefix="source_")


def test_what_has_one_value_is_no_option():
    assert "family" not in script.options(Translation()) and "family" in Translation.model_fields


def test_only_the_settings_asked_for_become_options():
    assert script.options(Objective(alpha=0.5), {"alpha", "imitate_noise"}) == "--alpha 0.5 --no-imitate-noise"


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


def fails_with(error):
    def main():
        raise error

    return main


def test_a_user_error_ends_the_script_with_its_sentence():
    with pytest.raises(SystemExit) as ended:
        script.run(fails_with(UserError("the prompt is too long")))
    assert ended.value.code == "error: the prompt is too long"  # sys.exit prints it and exits with 1


def test_a_full_disk_is_one_sentence_but_a_programming_error_keeps_its_traceback():
    with pytest.raises(SystemExit) as ended:
        script.run(fails_with(OSError(errno.ENOSPC, "no space", "results/model")))
    assert "'results/model'" in ended.value.code and "disk is full" in ended.value.code
    with pytest.raises(FileNotFoundError):
        script.run(fails_with(FileNotFoundError(errno.ENOENT, "gone")))


def test_a_real_full_disk(tmp_path):
    """/dev/full refuses every write, as a full disk does."""
    script = tmp_path / "fill.py"
    script.write_text(
        "from sequencematch import script\n"
        "def main():\n    with open('/dev/full', 'wb', buffering=0) as file:\n        file.write(b'x')\n"
        "script.run(main)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "disk is full" in done.stderr and done.stderr.count("\n") == 1
