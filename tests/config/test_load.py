"""The configuration files say what they may, and a wrong one is refused in one sentence."""

import os

import pytest
import yaml
from support.configuration import BASE, SCALES, refusal

from sequencematch.config.experiment import SECTIONS
from sequencematch.config.load import load_config, read_yaml, scale_overlay
from sequencematch.errors import UserError
from sequencematch.settings.data import Arithmetic, Source, Text, Translation
from sequencematch.settings.overheads import Overhead
from sequencematch.settings.training import Objective
from sequencematch.training.trainer import Stage


@pytest.mark.parametrize("overlay", [None, *sorted(SCALES.glob("*.yaml"))], ids=str)
def test_every_scale_is_valid_and_has_its_own_folder(overlay):
    config = load_config(BASE, *scale_overlay(SCALES, overlay and overlay.stem))
    assert config.scale == (overlay.stem if overlay else "default")


def test_the_base_file_lists_every_setting():
    """So that config.yaml, with its comments, is the whole documentation of the configuration."""
    written = read_yaml(BASE)
    assert {name: set(written[name]) for name in SECTIONS} == {n: set(s.model_fields) for n, s in SECTIONS.items()}
    families = {"arithmetic": Arithmetic, "translation": Translation, "text": Text}
    for task in written["tasks"].values():
        assert set(task["data"]) == set(families[task["data"]["family"]].model_fields)
    for table in written["overheads"].values():
        assert set(table["measured"]) == set(Overhead.model_fields)
    assert {key for source in written["sources"].values() for key in source} <= set(Source.model_fields)


def test_paper_scale_has_the_constants_of_appendix_e():
    in_force = load_config(BASE, SCALES / "paper.yaml").settings("mul", "sm")
    model, optimiser, schedule = in_force["model"], in_force["optimiser"], in_force["schedule"]
    assert (model.quantise, model.lora_rank, model.lora_alpha, model.gradient_checkpointing) == ("nf4", 64, 16, True)
    assert (optimiser.batch, optimiser.warmup) == (32, 2000)
    assert (schedule.pretrain_steps, schedule.beta_steps, schedule.beta_final) == (10_000, 2000, 0.2)
    assert (in_force["rollouts"].buffer, in_force["rollouts"].seen) == (1000, 8)
    assert (in_force["rollouts"].temperature, in_force["rollouts"].top_p, in_force["rollouts"].top_k) == (1, 1, 0)
    assert (in_force["objective"].c, in_force["objective"].beta_mix, in_force["objective"].js_delta) == (0.5, 0.5, 0.01)
    assert in_force["data"].train == 5000


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


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        # Names.
        ({"etass": [0.1]}, "etass is unknown; did you mean 'etas'?"),
        ({"objective": {"gama": 0.5}}, "objective.gama is unknown; did you mean 'gamma'?"),
        ({"tasks": {"mul": {"data": {"trian": 3}}}}, "tasks.mul.data.trian is unknown; did you mean 'train'?"),
        ({"tasks": {"mul": {"model": {"layerz": 3}}}}, "tasks.mul.model.layerz is unknown; did you mean 'layers'?"),
        ({"tables": {"table6": {"task": "mull"}}}, "tables.table6.task: 'mull' is unknown; did you mean 'mul'?"),
        ({"tables": {"table6": {"methods": ["bcc"]}}}, "tables.table6.methods: 'bcc' is unknown; did you mean 'bc'?"),
        (
            {"methods": {"sm": {"schedule": {"steps": 350}}}},
            "methods.sm.schedule.steps is shared by all methods of a task, so that they start equal and take the same "
            "number of steps: set it for the task; a method may change beta_final and beta_steps",
        ),
        (
            {"methods": {"base": {"loss": "sm"}}},
            "methods.base: this name is taken by a folder of the results; rename it",
        ),
        ({"tasks": {"../up": {}}}, "tasks.../up: a name may have letters, digits, '-' and '_' alone"),
        ({"scale": "../up"}, "scale is '../up', but must be text of letters, digits, '-' and '_'"),
        (
            {"tasks": {"text": {"data": {"source": "python_topic"}}}},
            "tasks.text.data.source: 'python_topic' is unknown; did you mean 'python_topics'?",
        ),
        # What steps cost.
        (
            {"overheads": {"table3": {"measured": {"geometries": ["256-768"]}}}},
            "overheads.table3.measured.geometries: '256-768' is no geometry: write lengths of prompt and continuation "
            "as 256+768",
        ),
        (
            {"overheads": {"table3": {"model": {"context": 1024}}}},
            "overheads.table3: sequences take up to 4096 positions (prompt, continuation and deleted tokens, "
            "contexts, masked), and the model has 1024 (context): raise it, or shorten them",
        ),
        (
            {"overheads": {"table3": {"model": {"layerz": 3}}}},
            "overheads.table3.model.layerz is unknown; did you mean 'layers'?",
        ),
        (
            {"overheads": {"table6": {"title": "T", "measured": {}}}},
            "overheads.table6: tables has an entry of that name; rename one of them",
        ),
        # What is measured.
        (
            {"evaluation": {"decodings": ["sampled", "top_k=3"]}},
            "evaluation.decodings: 'top_k=3' is no decoding; known are: sampled, greedy, bkspc_masked, memory, "
            "temperature=X, top_p=X, min_p=X, rejection=X, bkspc_bias=X, surprise=X, takeback=X, takeback_ratio=X, "
            "takeback_any_ratio=X, lookahead=X, perturbed=X, perturbed_task=X, perturbed_random=X, perturbed_model=X, "
            "best_of=X, majority=X; several are joined by '+'",
        ),
        (
            {"tasks": {"text": {"evaluation": {"corruptions": ["task"]}}}},
            "tasks.text.evaluation.corruptions holds 'task', but may hold random, unigram and model alone "
            "in a task of text (task text)",
        ),
        (
            {"tasks": {"text": {"evaluation": {"max_actions": 63}}}},
            "tasks.text.evaluation.max_actions is 63, but must be at least data.continuation (64), and more, so that "
            "deletions leave as many tokens (task text)",
        ),
        (
            {"methods": {"mle": {"loss": "uls"}}, "evaluation": {"judge": ""}},
            "evaluation.judge is empty, and no method has the loss mle, whose models would judge text: "
            "name a causal LM, or add such a method (task text)",
        ),
        # Families.
        (
            {"tasks": {"mul": {"data": {"family": "aritmetic"}}}},
            "tasks.mul.data.family is 'aritmetic', but must be one of arithmetic, graphs, translation, text",
        ),
        (
            {"tasks": {"new": {"data": {"generator": "mul"}}}},
            "tasks.new.data.family is missing: it must be one of arithmetic, graphs, translation, text",
        ),
        ({"tasks": {"new": {"data": 3}}}, "tasks.new.data is 3, but must be a group of settings"),
        ({"tasks": {"new": {}}}, "tasks.new.data is missing: it must be a group of settings"),
        (
            {"tasks": {"mul": {"data": {"entropy": [1]}}}},
            "tasks.mul.data.entropy has too few values: it must be 2 values, each a number",
        ),
        (
            {"tasks": {"mul": {"data": {"entropy": [2, 1]}}}},
            "tasks.mul.data: entropy [2.0, 1.0] is no range: it must go from above 0 up to something not below it, "
            "and at most 100",
        ),
        (
            {"tasks": {"translation": {"data": {"entropy": [1, 2]}}}},
            "tasks.translation.data.entropy is unknown; known are: "
            "train, validation, test, seed, family, source, vocabulary, languages, longest",
        ),
        (
            {"tasks": {"text": {"data": {"vocabulary": 258}}}},
            "tasks.text.data.vocabulary is 258, but must be an integer at least 259 and at most 16777216",
        ),
        # Sources.
        (
            {"sources": {"mine": {"kind": "web"}}},
            "sources.mine.kind is 'web', but must be one of hub, files, generated, package",
        ),
        (
            {"sources": {"mine": {"kind": "files"}}},
            "sources.mine: a source of kind 'files' needs the files of its training split (train)",
        ),
        ({"sources": {"mine": {"kind": "generated"}}}, "sources.mine: a source of kind 'generated' needs a name"),
        (
            {"sources": {"mine": {"kind": "hub", "name": "a/b"}}},
            "sources.mine: a source of kind 'hub' needs a revision, or it would change under the results",
        ),
        (
            {"sources": {"mine": {"kind": "files", "train": "a.txt"}}},
            "sources.mine.train is 'a.txt', but must be a list, each text",
        ),
        (
            {"sources": {"mine": {"kind": "files", "train": ["a.txt"], "separator": "("}}},
            "sources.mine.separator: '(' is no regular expression (missing ), unterminated subpattern at position 0)",
        ),
        (
            {"sources": {"mine": {"kind": "files", "train": ["a.txt"], "separator": "(" * 5000}}},
            "sources.mine.separator: it has 5000 characters, and may have 200",
        ),
        (
            {"tasks": {"mul": {"data": {"train": 10**12}}}},
            "tasks.mul.data.train is 1000000000000, but must be an integer at least 1 and at most 100000000",
        ),
        ({"noise": {"draws": 10**9}}, "noise.draws is 1000000000, but must be an integer at least 1 and at most 1000"),
        # What Python takes for numbers, or would end in a traceback.
        ({"seeds": ["1_2"]}, "seeds is ['1_2'], but must be a list, each an integer"),
        ({"etas": ["0.1_5"]}, "etas is ['0.1_5'], but must be a list, each a number above 0 and below 1"),
        (
            {"schedule": {"steps": " 12"}},
            "schedule.steps is ' 12', but must be an integer at least 1 and at most 1000000000",
        ),
        ({"model": {"initial_spread": 2}}, "model.initial_spread is 2, but must be a number above 0 and at most 1"),
        (
            {"objective": {"alpha": 10**400}},
            f"objective.alpha is 1{'0' * 199}..., but must be a number above 0",
        ),
        (
            {"tasks": {"mul": {"data": {"entropy": [1, 1e308]}}}},
            "tasks.mul.data: entropy [1.0, 1e+308] is no range: it must go from above 0 up to something not below it, "
            "and at most 100",
        ),
        # Names.
        (
            {"tables": {"table6": {"methods": ["mle", "mle"]}}},
            "tables.table6.methods: ['mle', 'mle'] holds the same value twice; each one is a run of its own",
        ),
        (
            {"methods": {"Base": {"loss": "mle"}}},
            "methods.Base: this name is taken by a folder of the results; rename it",
        ),
        ({"scale": "Reference"}, "scale is 'Reference', a name with another meaning: rename the scale"),
        # Types.
        (
            {"optimiser": {"batch": "many"}},
            "optimiser.batch is 'many', but must be an integer at least 1 and at most 1048576",
        ),
        (
            {"schedule": {"steps": True}},
            "schedule.steps is True, but must be an integer at least 1 and at most 1000000000",
        ),
        (
            {"schedule": {"steps": 10**10}},
            "schedule.steps is 10000000000, but must be an integer at least 1 and at most 1000000000",
        ),
        (
            {"rollouts": {"top_k": 10**10}},
            "rollouts.top_k is 10000000000, but must be an integer at least 0 and at most 1000000000",
        ),
        ({"noise": 3}, "noise is 3, but must be a group of settings"),
        ({"seeds": []}, "seeds is [], but must be a list, each an integer"),
        ({"methods": {"x": {}}}, "methods.x.loss is missing: it must be one of mle, uls, iq, bc, sm, dagger"),
        # Values.
        ({"etas": [0.02, 1]}, "etas is 1, but must be a list, each a number above 0 and below 1"),
        ({"etas": [-0.1]}, "etas is -0.1, but must be a list, each a number above 0 and below 1"),
        ({"etas": [0.2, 0.2]}, "etas: [0.2, 0.2] holds the same value twice; each one is a run of its own"),
        ({"objective": {"gamma": 1}}, "objective.gamma is 1, but must be a number above 0 and below 1"),
        (
            {"methods": {"sm": {"objective": {"alpha": 0}}}},
            "methods.sm.objective.alpha is 0, but must be a number above 0",
        ),
        (
            {"objective": {"divergence": "jss"}},
            "objective.divergence is 'jss', but must be one of kl, js, chi2, chi2_mixture, mle",
        ),
        ({"noise": {"kind": "digit"}}, "noise.kind is 'digit', but must be one of task, random, unigram, model"),
        (
            {"methods": {"sm": {"loss": "smm"}}},
            "methods.sm.loss is 'smm', but must be one of mle, uls, iq, bc, sm, dagger",
        ),
        (
            {"tasks": {"mul": {"data": {"generator": "div"}}}},
            "tasks.mul.data.generator is 'div', but must be one of add_or_sub_in_base, mul, list_prime_factors",
        ),
        # Values that do not fit together.
        (
            {"tables": {"table8": {"methods": ["mle", "dagger"]}}},
            "tables.table8.methods holds 'dagger', which needs a reference completion for each prompt, and text has "
            "none (task text): leave it out",
        ),
        (
            {"schedule": {"pretrain_steps": 700, "steps": 700}},
            "schedule: pretrain_steps (k = 700) must be below steps (700), or SequenceMatch has no step left",
        ),
        (
            {"tasks": {"mul": {"schedule": {"pretrain_steps": 700, "steps": 700}}}},
            "tasks.mul.schedule: pretrain_steps (k = 700) must be below steps (700), or SequenceMatch has no step left",
        ),
        (
            {"rollouts": {"buffer": 8}},
            "rollouts.buffer is 8, but must be at least optimiser.batch (64), "
            "or no batch can be drawn from it (task mul)",
        ),
        (
            {"rollouts": {"concurrent": True}, "jobs": {"train": {"gpu": 2}}},
            "rollouts.concurrent is true, but training then takes one process, and jobs.train.gpu is 2, one process "
            "each: set one of them to false or 1 (task mul)",
        ),
        ({"optimiser": {"micro_batch": 5}}, "optimiser: batch (64) must be a multiple of micro_batch (5)"),
        (
            {"evaluation": {"max_actions": 128}},
            "evaluation.max_actions is 128, but must be at most 127: "
            "model.context (128) holds the prompt too (task mul)",
        ),
        (
            {"tasks": {"text": {"data": {"continuation": 170}}}},
            "tasks.text.data: a prompt of 32 tokens and 170 to come after it are more than model.context (192) holds",
        ),
        (
            {"tasks": {"text": {"rollouts": {"max_actions": 161}}}},
            "tasks.text.rollouts.max_actions is 161, but must be at most 160: "
            "model.context (192) holds the prompt too (task text)",
        ),
        (
            {"tasks": {"text": {"noise": {"kind": "task"}}}},
            "tasks.text.noise.kind is 'task', but must be one of random, unigram, model in a task of text (task text)",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value),
)
def test_a_wrong_configuration_is_refused_in_one_sentence(overlay, sentence):
    assert refusal(overlay) == f"overlay.yaml: {sentence}"


def test_the_file_blamed_is_the_one_that_says_it(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("objective: {gamma: 2}")
    second.write_text("objective: {alpha: 1}")
    with pytest.raises(UserError, match="first.yaml: objective.gamma is 2"):
        load_config(BASE, first, second)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: not valid YAML ('a' occurs here twice)"),
        ("a:\n  b: 1\n  b: 1\n", "line 3: not valid YAML ('b' occurs here twice)"),
        ("a: [1\nb: 2\n", "line 2: not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("- a\n", "holds no settings (key: value)"),
    ],
)
def test_a_file_that_is_no_safe_mapping_is_refused(tmp_path, text, sentence):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(str(file)) and sentence in str(caught.value)


DEEP = "a: " + "[" * 10**5
EXPLODING = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{name}'] * 9)}]\n" for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "? [a, b]\n: 1\n",
        "? {a: b}\n: 1\n",
        "? 2001-01-01\n: 1\n",
        "a: &x {b: *x}\n",
        "a: &x [*x]\n",
        EXPLODING,
        DEEP,
        "a: 2001-99-99\n",
        "a: !!int x\n",
        "a: !!timestamp x\n",
        "a: !!binary x\n",
        "<<: 3\n",
        "a: *nowhere\n",
        "a: \x00\n",
        "%YAML 9.9\n--- a\n",
        "a: 1\n---\nb: 2\n",
    ],
)
def test_yaml_that_is_no_plain_mapping_is_one_sentence(tmp_path, text):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(BASE, file)
    assert str(caught.value).startswith(f"{file}") and "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_configuration_that_is_no_file(tmp_path, make):
    make(tmp_path / "x.yaml")
    with pytest.raises(UserError, match="x.yaml' is not a regular file"):
        load_config(BASE, tmp_path / "x.yaml")


@pytest.mark.parametrize("null", ["null", "~", None])
def test_null_on_a_command_line_removes_a_setting_as_in_a_file(null):
    """Snakemake hands the word on as text, inside groups too."""
    config = load_config(BASE, ("command line", {"objective": {"alpha": null}, "map": null}))
    assert config.objective.alpha == Objective().alpha and config.map is None


@pytest.mark.parametrize(
    "values",
    [
        {"model": {"width": 10**12}},
        {"model": {"layers": 10**9}},
        {"model": {"context": 10**15}},
        {"model": {"lora_rank": 10**9}},
        {"optimiser": {"batch": 10**12, "micro_batch": 10**12}},
        {"rollouts": {"buffer": 10**12}},
        {"rollouts": {"generate": 10**12}},
        {"evaluation": {"batch": 10**12}},
    ],
)
def test_sizes_that_no_machine_has_are_refused(values):
    assert "and at most" in refusal(values)


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


@pytest.mark.parametrize("name", [["paper"], {"paper": 1}, 5])
def test_a_scale_that_is_no_name_is_unknown(name):
    with pytest.raises(UserError, match="is unknown; "):
        scale_overlay(SCALES, name)
