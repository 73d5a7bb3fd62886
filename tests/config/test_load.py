"""The configuration files say what they may, and a wrong one is refused in one sentence."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from support.configuration import BASE, SCALES, refusal

from sequencematch.config.experiment import SECTIONS
from sequencematch.config.jobs import Jobs
from sequencematch.config.load import load_config, read_yaml, scale_overlay
from sequencematch.errors import UserError
from sequencematch.settings.data import DATA, Source
from sequencematch.settings.overheads import Overhead
from sequencematch.settings.training import Objective
from sequencematch.training.schedule import Stage

REFUSALS = Path(__file__).with_name("refusals.txt")


@pytest.mark.parametrize("overlay", [None, *sorted(SCALES.glob("*.yaml"))], ids=str)
def test_every_scale_is_valid_and_has_its_own_folder(overlay):
    config = load_config(BASE, *scale_overlay(SCALES, overlay and overlay.stem))
    assert config.scale == (overlay.stem if overlay else "default")


def test_the_base_file_lists_every_setting():
    """So that config.yaml, with its comments, is the whole documentation of the configuration."""
    written = read_yaml(BASE)
    assert {name: set(written[name]) for name in SECTIONS} == {n: set(s.model_fields) for n, s in SECTIONS.items()}
    for task in written["tasks"].values():
        assert set(task["data"]) == set(DATA[task["data"]["family"]].model_fields)
    for table in written["overheads"].values():
        assert set(table["measured"]) == set(Overhead.model_fields)
    assert {key for source in written["sources"].values() for key in source} <= set(Source.model_fields)


def test_language_tasks_have_the_constants_of_appendix_e():
    paper, gpu = (load_config(BASE, SCALES / f"{scale}.yaml") for scale in ("paper", "gpu"))
    for config in (paper, gpu):
        text, translation = config.settings("text", "sm"), config.settings("translation", "sm")
        assert (text["data"].prompt, text["data"].continuation, text["schedule"].pretrain_steps) == (256, 256, 1000)
        assert (translation["data"].longest, translation["schedule"].pretrain_steps) == (64, 10_000)
        assert text["noise"].kind == translation["noise"].kind == "random"
        assert (config.source("text").name, config.source("translation").name) == (
            "Skylion007/openwebtext",
            "Helsinki-NLP/opus_books",
        )
        assert text["optimiser"] == config.optimiser
    assert paper.settings("text")["schedule"].base_steps == 0


def test_tasks_that_differ_in_nothing_that_a_base_model_reads_may_share_it():
    def base_models(**settings):
        again = {"base": "mul", **settings}
        jobs = Jobs(load_config(BASE, ("overlay", {"tasks": {"again": again}})))
        return {jobs.base_model(SimpleNamespace(task=task, seed=2)) for task in ("mul", "again")}

    assert base_models(noise={"kind": "random"}, schedule={"steps": 900}) == {"results/default/mul/base/seed=2/model"}
    for section, value in ("model", {"layers": 1}), ("optimiser", {"batch": 32}), ("schedule", {"base_steps": 7}):
        with pytest.raises(UserError, match=f"again.base is 'mul', whose {section} differs"):
            base_models(**{section: value})


def test_a_task_has_the_settings_of_its_base_where_it_has_none_of_its_own():
    again = {"base": "text", "evaluation": {"decodings": ["greedy"]}}
    config = load_config(BASE, ("overlay", {"tasks": {"again": again}}))
    text, found = config.settings("text"), config.settings("again")
    assert found["evaluation"].decodings == ("greedy",)
    assert found["evaluation"] == text["evaluation"].model_copy(update={"decodings": ("greedy",)})
    assert found | {"evaluation": text["evaluation"]} == text


def test_methods_override_tasks_and_tasks_override_the_sections():
    overlay = {
        "objective": {"alpha": 0.1, "gamma": 0.5},
        "tasks": {"mul": {"objective": {"alpha": 0.2, "c": 0.3}}},
        "methods": {"sm": {"objective": {"c": 0.4}}},
    }
    config = load_config(BASE, ("overlay", overlay))

    def of(*which):
        objective = config.settings(*which)["objective"]
        return objective.alpha, objective.gamma, objective.c

    assert of("add_or_sub_in_base") == (0.1, 0.5, 0.5)
    assert of("mul", "bc") == of("mul") == (0.2, 0.5, 0.3)
    assert of("mul", "sm") == (0.2, 0.5, 0.4)


def test_methods_on_clean_data_have_one_level_of_noise():
    config = load_config(BASE)
    assert config.etas_of("mle") == config.etas_of("uls") == (0,)
    assert config.etas_of("bc") == config.etas_of("sm") == config.etas


def test_the_judge_is_of_another_seed_if_there_is_one():
    config = load_config(BASE)
    assert config.judge_method == "mle"
    assert [config.seed_after(seed) for seed in (1, 2, 3, 9)] == [2, 3, 1, 1]
    assert load_config(BASE, ("overlay", {"seeds": [4]})).seed_after(4) == 4


def test_null_removes_a_key():
    config = load_config(BASE, ("overlay", {"tables": {"table7": None}, "tasks": {"list_prime_factors": None}}))
    assert "table7" not in config.tables and "list_prime_factors" not in config.tasks


def refusals():
    """The pairs of ``refusals.txt``: an overlay, and the sentence below it."""
    lines = [line for line in REFUSALS.read_text().splitlines() if line and not line.startswith("#")]
    return [(yaml.safe_load(f"{{{o}}}"), s.strip()) for o, s in zip(lines[::2], lines[1::2], strict=True)]


TOO_LONG = [
    (
        {"sources": {"mine": {"kind": "files", "train": ["a.txt"], "separator": "(" * 5000}}},
        "sources.mine.separator: it has 5000 characters, and may have 200",
    ),
    (
        {"objective": {"alpha": 10**400}},
        f"objective.alpha is 1{'0' * 199}..., but must be a number above 0",
    ),
]


@pytest.mark.parametrize(("overlay", "sentence"), [*refusals(), *TOO_LONG])
def test_a_wrong_configuration_is_refused_in_one_sentence(overlay, sentence):
    assert refusal(overlay) == f"overlay.yaml: {sentence}"


def test_the_file_blamed_is_the_one_that_says_it(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("objective: {gamma: 2}")
    second.write_text("objective: {alpha: 1}")
    with pytest.raises(UserError, match="first.yaml: objective.gamma is 2"):
        load_config(BASE, first, second)


DEEP = "a: " + "[" * 10**5
EXPLODING = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{name}'] * 9)}]\n" for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


NO_PLAIN_MAPPING = {
    "a: 1\nb: 2\na: 3\n": "line 3: not valid YAML ('a' occurs here twice)",
    "a:\n  b: 1\n  b: 1\n": "line 3: not valid YAML ('b' occurs here twice)",
    "a: [1\nb: 2\n": "line 2: not valid YAML",
    "a: !!python/object/apply:os.getcwd []\n": "not valid YAML",
    "- a\n": "holds no settings (key: value)",
    **dict.fromkeys(("? [a, b]\n: 1\n", "? {a: b}\n: 1\n", "? 2001-01-01\n: 1\n", "<<: 3\n", "a: *nowhere\n"), ""),
    **dict.fromkeys(("a: &x {b: *x}\n", "a: &x [*x]\n", EXPLODING, DEEP, "a: 2001-99-99\n", "a: !!int x\n"), ""),
    **dict.fromkeys(("a: !!timestamp x\n", "a: !!binary x\n", "a: \x00\n", "%YAML 9.9\n--- a\n"), ""),
    "a: 1\n---\nb: 2\n": "",
}


@pytest.mark.parametrize("text", NO_PLAIN_MAPPING, ids=lambda text: text[:30])
def test_yaml_that_is_no_plain_mapping_is_one_sentence(tmp_path, text):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(BASE, file)
    said = str(caught.value)
    assert said.startswith(str(file)) and NO_PLAIN_MAPPING[text] in said and "\n" not in said


@pytest.mark.parametrize("null", ["null", "~", None])
def test_null_on_a_command_line_removes_a_setting_as_in_a_file(null):
    """Snakemake hands the word on as text, inside groups too."""
    config = load_config(BASE, ("command line", {"objective": {"alpha": null}, "map": null}))
    assert config.objective.alpha == Objective().alpha and config.map is None


def test_numbers_in_exponent_notation_are_numbers():
    """YAML 1.1 reads 3e-3 as text."""
    assert yaml.safe_load("3e-3") == "3e-3"
    config = load_config(BASE, ("overlay", {"optimiser": {"learning_rate": "3e-3"}}))
    assert config.settings("mul")["optimiser"].learning_rate == 0.003


def test_scales_are_found_by_name():
    assert scale_overlay(SCALES, None) == scale_overlay(SCALES, "default") == []
    assert scale_overlay(SCALES, "smoke") == [SCALES / "smoke.yaml"]
    with pytest.raises(UserError, match="scale 'smokee' is unknown; did you mean 'smoke'"):
        scale_overlay(SCALES, "smokee")
    for no_name in (["paper"], {"paper": 1}, 5, ""):
        with pytest.raises(UserError, match="is unknown; "):
            scale_overlay(SCALES, no_name)


def test_sequence_match_has_its_final_weight_for_most_of_its_learning():
    """At the default scale, at least half of the learning-rate-weighted steps after k."""
    config = load_config(BASE)
    for task in config.tasks:
        s = config.settings(task, "sm")["schedule"]
        stage = Stage("sm", s.pretrain_steps, s.steps, s.decay_start, s.steps)
        settings = config.settings(task, "sm")["optimiser"].model_copy(update={"warmup": 0})
        rates = {step: stage.learning_rate(step, settings) for step in range(s.pretrain_steps, s.steps)}
        final = sum(rate for step, rate in rates.items() if stage.beta(step, s) == s.beta_final)
        assert final >= 0.5 * sum(rates.values()), task
