"""What steps and sampling cost: rows do what they say, parts are the step, and tables say what was measured."""

import json
from dataclasses import replace

import pytest
import torch
from support import reduced
from support.experiment import run

from sequencematch import core
from sequencematch.errors import UserError
from sequencematch.overheads.steps import (
    BETA,
    OBJECTIVE,
    ROWS,
    Case,
    make_data,
    new_bench,
    normaliser_of,
    sample_recomputing,
    sample_rewinding,
)
from sequencematch.results.measure import measure_parts, measure_steps, parts_of
from sequencematch.results.measured import Measured, Value, read_measured, write_measured
from sequencematch.results.words import benchmark_verdicts, step_verdicts
from sequencematch.sampling.decoding import Decoding
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.model import Model
from sequencematch.settings.overheads import Overhead
from sequencematch.store.files import read_csv
from sequencematch.training.losses import FUNCTIONS

CASE = Case(prompt=6, continuation=20, batch=3)
SETTINGS = Overhead(geometries=("6+20",), batch=3, generate=4, eta=0.3, pops=0.2, vocabulary=24)


@pytest.fixture
def bench():
    torch.manual_seed(0)
    return new_bench(Model(layers=2, width=32, heads=2, context=64), SETTINGS)


# ---- rows --------------------------------------------------------------------------------------------


def loss_of(policy, row, data):
    rows = data.rows(row.loss)
    policy.backspace = LOSSES[row.loss].backspace
    loss, _ = FUNCTIONS[row.loss](row.score(policy, rows), normaliser_of(rows), OBJECTIVE, BETA)
    policy.zero_grad()
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("ours", "others"), [("sm", ["sm_paper", "sm_tree", "sm_shared"]), ("bc", ["bc_paper"])], ids=["sm", "bc"]
)
def test_every_way_of_doing_a_step_has_the_same_loss_and_gradients(bench, ours, others):
    data = bench.data(CASE)
    loss, gradients = loss_of(bench.policy, ROWS[ours], data)
    for other in others:
        found, its_gradients = loss_of(bench.policy, ROWS[other], data)
        assert found == pytest.approx(loss, rel=1e-5)
        for name in gradients:
            torch.testing.assert_close(its_gradients[name], gradients[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ROWS)
def test_the_timed_parts_of_a_step_are_the_step(bench, name):
    """The backward pass in three pieces leaves the gradients of the whole one, clipped; and the times add up."""
    data = bench.data(CASE)
    _, expected = loss_of(bench.policy, ROWS[name], data)
    norm = torch.stack([g.norm() for g in expected.values()]).norm()
    times = bench.step(ROWS[name], data)
    for key, p in bench.policy.named_parameters():
        if key in expected:
            torch.testing.assert_close(p.grad, expected[key] * min(1, 1 / norm), rtol=1e-4, atol=1e-7)
    assert sum(times[part] for part in ("network", "scores", "objective", "optimiser")) == pytest.approx(times["step"])
    assert all(times[part] > 0 for part in ("network", "scores", "objective", "optimiser"))


def test_rows_encode_the_tokens_they_state(bench):
    """Against the positions that the masking really uses, and the counts known beforehand."""
    data, bkspc = bench.data(CASE), bench.policy.bkspc
    noise = [sum(action == bkspc for action in row.actions) for row in data.noised]
    pops = [sum(action == bkspc for action in row.actions) for row in data.rollouts]
    assert sum(noise) and sum(pops)
    sequence = CASE.prompt + CASE.continuation
    expected = {
        "mle": 3 * sequence,
        "bc": 3 * sequence + sum(noise),
        "bc_paper": 3 * sequence + 2 * sum(noise),
        "sm_paper": 6 * sequence + 2 * sum(noise) + 2 * sum(pops),
        "sm_tree": 6 * sequence + sum(noise) + sum(pops),
        "sm": 6 * sequence + sum(noise) + sum(pops),
        "sm_shared": 6 * sequence - 3 * CASE.prompt + sum(noise) + sum(pops),
    }
    for name, row in ROWS.items():
        rows = data.rows(row.loss)
        assert sum(row.tokens(encoded, bkspc) for encoded in rows) == expected[name], name
    # One sequence has no padding: what the network is fed is what is stated.
    alone = bench.data(replace(CASE, batch=1))
    for name, row in ROWS.items():
        (encoded,) = alone.rows(row.loss)
        assert bench.step(row, alone)["positions"] == row.tokens(encoded, bkspc), name


def test_random_data_are_noised_as_asked():
    data = make_data(Case(5, 4000, 1), vocabulary=50, bkspc=50, eta=0.2, pops=0.1)
    (clean,), (noised,), (rollout,) = data.clean, data.noised, data.rollouts
    assert 50 not in clean.actions and len(clean.actions) == 4000
    assert noised.actions.count(50) / 4000 == pytest.approx(0.2, abs=0.03)
    assert rollout.actions.count(50) / len(rollout.actions) == pytest.approx(0.1, abs=0.015)
    assert all(rollout.imitated) and noised.imitated.count(False) == noised.actions.count(50)
    assert core.live_tokens(noised.prompt, noised.actions, 50) and clean.prompt == noised.prompt == rollout.prompt


def test_recomputing_draws_the_rollouts_that_rewinding_draws(bench):
    prompts, streams = bench.prompts(CASE), range(SETTINGS.generate)
    decoding = bench.decoding(CASE, prompts)
    bench.policy.eval()
    rollouts = sample_rewinding(bench.policy, prompts, decoding, streams)
    assert sample_recomputing(bench.policy, prompts, decoding, streams) == rollouts
    actions = [action for rollout in rollouts for action in rollout]
    assert {len(rollout) for rollout in rollouts} == {34}  # 20 tokens and 7 that are taken back
    assert actions.count(bench.policy.bkspc) / len(actions) == pytest.approx(SETTINGS.pops, abs=0.1)
    assert decoding == Decoding(34, bkspc_bias=decoding.bkspc_bias)


def test_a_network_in_four_bits_is_made_without_a_hub_and_trains():
    """The shape of Llama-2-7b as far as width goes to its inner layers; small enough here."""
    model = Model(layers=2, width=64, heads=2, quantise="nf4", lora_rank=4, precision="bfloat16")
    bench = new_bench(model, SETTINGS)
    layers = bench.policy.lm.model.layers
    assert len(layers) == 2 == bench.policy.lm.config.num_hidden_layers
    assert type(layers[0].self_attn.q_proj.base_layer).__name__ == "Linear4bit"
    trained = [name for name, p in bench.policy.named_parameters() if p.requires_grad and name.startswith("lm.")]
    assert trained and all("lora" in name for name in trained)
    times = bench.step(ROWS["sm"], bench.data(CASE))
    assert times["step"] > 0
    assert all(p.grad.isfinite().all() for p in bench.policy.parameters() if p.requires_grad)


# ---- tables ------------------------------------------------------------------------------------------


def measured(sm_step=(3.0, 6.0, 4.5), generation=16.0, objective=0.1):
    """By hand: MLE takes 1, 2 and 1.5 seconds, MLE encodes 100 tokens, SM 200."""
    values = []
    for row, steps, tokens in (
        ("mle", (1.0, 2.0, 1.5), 100),
        ("bc", (1.2, 2.4, 1.8), 110),
        ("bc_paper", (1.4, 2.8, 2.1), 120),
        ("sm_paper", (8.0, 16.0, 12.0), 240),
        ("sm_tree", (5.0, 10.0, 7.5), 220),
        ("sm", sm_step, 200),
        ("sm_shared", sm_step, 200),
    ):
        values += [Value("c", row, "tokens", None, tokens), Value("c", row, "peak_memory", None, 1e6)]
        if row.startswith("sm"):
            values.append(Value("c", row, "generation", 0, generation))
        for repeat, step in enumerate(steps):
            parts = {"objective": objective * step, "optimiser": 0.1, "scores": 0.2}
            parts["network"] = step - sum(parts.values())
            parts |= {"step": step, "positions": tokens + 10}
            values += [Value("c", row, name, repeat, number) for name, number in parts.items()]
    return Measured(values, {"steps_per_sample": 32})


def test_ratios_are_taken_repeat_by_repeat_and_the_paper_s_stand_beside_them():
    cells = {(c.where.method, c.quantity): c for c in measure_steps(measured(), "text_1024")}
    ratio = cells["sm", "step_ratio"]
    assert (ratio.mean, ratio.low, ratio.high) == (3.0, 3.0, 3.0)  # though steps differ by a factor of two
    assert ratio.paper.value == pytest.approx(5.3 / 1.5) and cells[
        "sm", "amortised_ratio"
    ].paper.value == pytest.approx(8.1 / 1.5)
    assert cells["sm", "amortised"].mean == 4.5 + 0.5
    assert cells["sm", "amortised_ratio"].mean == pytest.approx(4.5 / 1.5 + 0.5 / 1.5)
    assert cells["sm", "token_floor"].mean == 2 and cells["sm", "padding_share"].mean == pytest.approx(10 / 210)
    assert cells["mle", "amortised"].mean == 1.5 and ("mle", "generation") not in cells
    assert cells["sm_paper", "generation"].paper.value == 50 and cells["mle", "step"].paper.value == 1.5
    arithmetic = {(c.where.method, c.quantity): c for c in measure_steps(measured(), "arithmetic")}
    assert arithmetic["sm", "step_ratio"].paper.value == pytest.approx(2.1 / 1.2)
    assert arithmetic["sm", "amortised_ratio"].paper.value == pytest.approx(2.16 / 1.2)
    assert all(c.paper is None for c in measure_steps(measured(), ""))


def test_verdicts_follow_the_numbers():
    """SM's token floor is 2, so 2.3 times MLE are allowed in a step, 2.7 amortised, and a tenth for the objective."""
    for scale, met in ((2.3, True), (2.31, False)):
        cells = measure_steps(measured(sm_step=(scale, 2 * scale, 1.5 * scale), generation=0.0), "")
        step, amortised, objective = step_verdicts(cells, "c")[:3]
        assert amortised.endswith("*met*.") and objective.endswith("*met*.")
        assert step == (
            f"SM, ours, gradient step: {scale:.2f} times the MLE step; at most 2.30 (1.15 x the token floor of "
            f"2.00): *{'met' if met else 'not met'}*."
        )
    slow = measure_steps(measured(sm_step=(2.0, 4.0, 3.0), generation=40.0, objective=0.11), "")
    assert ["not met" in verdict for verdict in step_verdicts(slow, "c")[:3]] == [False, True, True]


def test_parts_add_up_to_the_amortised_step():
    cells = measure_steps(measured(), "")
    for row in ("mle", "sm_paper", "sm"):
        parts = parts_of(cells, "c", row)
        amortised = next(c.mean for c in cells if (c.where.method, c.quantity) == (row, "amortised"))
        assert sum(parts.values()) == pytest.approx(amortised)
    assert parts_of(cells, "c", "mle")["rollouts"] == 0 < parts_of(cells, "c", "sm")["rollouts"]


def test_the_state_tree_has_another_limit_at_short_lengths():
    values = [
        Value(length, row, "step", 0, seconds)
        for length, tree in (("64", 0.95), ("256", 0.84), ("512", 0.86))
        for row, seconds in (("algorithm_2", 1.0), ("state_tree", tree))
    ]
    sentences = benchmark_verdicts(measure_parts(Measured(values, {}), "algorithm_2"))
    assert [sentence.rpartition("*")[0].rpartition("*")[2] for sentence in sentences] == ["met", "met", "not met"]


def test_a_measurement_reads_back_and_damage_is_told(tmp_path):
    written = measured()
    write_measured(written, tmp_path / "m")
    assert read_measured(tmp_path / "m") == written
    (tmp_path / "m/values.csv").write_text("case,row\nc,mle\n")
    with pytest.raises(UserError, match="holds no measurement .*delete it and measure again"):
        read_measured(tmp_path / "m")


# ---- the scripts -------------------------------------------------------------------------------------


TINY = {"geometries": ["6+10", "4+8"], "vocabulary": 50, "repeats": 2, "sampling_repeats": 1, "batch": 2}
TINY |= {"generate": 4, "pops": 0.3, "layers": 1, "width": 16, "heads": 2, "context": 64}
TINY |= {"contexts": [16, 32], "batches": [1, 2], "masked": [16, 32]}


def test_a_figure_of_a_part_without_one_is_refused(tmp_path):
    named = {name: tmp_path / name for name in ("measured", "csv", "markdown", "figure")}
    refused = run("make_cost_table", part="masking", **named, check=False)
    assert refused.returncode == 1 and "there is no figure of masking: leave out --figure" in refused.stderr


@pytest.mark.slow
def test_from_measurement_to_table_and_figure(tmp_path):
    run("measure_overheads", part="steps", **TINY, output=tmp_path / "steps")
    named = {"csv": tmp_path / "t.csv", "markdown": tmp_path / "t.md", "figure": tmp_path / "t.png"}
    of_steps = {"part": "steps", "table": "t", "title": "T", "compared": "arithmetic"}
    run("make_cost_table", measured=tmp_path / "steps", **of_steps, **named)
    assert named["figure"].read_bytes().startswith(b"\x89PNG")
    page = named["markdown"].read_text()
    for words in ("# T", "6 + 10 tokens, batch 2", "4 + 8 tokens", "| SM, as in the paper |", "weights are random"):
        assert words in page
    assert page.count("*met*") + page.count("*not met*") == 2 * 2 * 3
    cells = {(c["task"], c["method"], c["quantity"]): c for c in read_csv(named["csv"])}
    assert {cell["table"] for cell in cells.values()} == {"t"}
    case = "6 + 10 tokens, batch 2"
    assert float(cells[case, "mle", "tokens"]["mean"]) == 2 * 16
    assert cells[case, "sm", "step_ratio"]["paper_value"] == "1.75"
    assert cells["4 + 8 tokens, batch 2", "sm", "step_ratio"]["paper_value"] == ""
    assert float(cells[case, "sm", "steps_per_sample"]["mean"]) == 4 * 8 / 2
    assert json.loads((tmp_path / "steps/facts.json").read_text())["device"] in ("CPU", *_gpus())


def _gpus():
    return [torch.cuda.get_device_name()] if torch.cuda.is_available() else []


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ["growth", "masking", "projection", "sampling", "concurrent"])
def test_benchmarks_and_their_tables(tmp_path, benchmark):
    run("measure_overheads", part=benchmark, **TINY, output=tmp_path / "m")
    named = {"csv": tmp_path / "t.csv", "markdown": tmp_path / "t.md"}
    named |= {"figure": tmp_path / "g.png"} if benchmark == "growth" else {}
    run("make_cost_table", measured=tmp_path / "m", part=benchmark, **named)
    page, found = named["markdown"].read_text(), read_measured(tmp_path / "m")
    if benchmark == "growth":
        assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
        assert found.cases == ["4 + 12 tokens, batch 2", "8 + 24 tokens, batch 2", "4 + 12 tokens"]
    if benchmark == "masking":
        # One integer a token, where the dense mask has one byte a pair.
        tree, dense = (found.series("32", row, "mask_bytes")[0] for row in ("state_tree", "algorithm_2"))
        assert tree % 8 == 0 and tree <= 8 * 32 * 2 < 32 * 32 <= dense
        assert page.count("Algorithm 2's") == 2
    if benchmark == "projection":
        assert found.cases == ["6 + 10 tokens, batch 2"] and "| as in training |" in page
    if benchmark == "sampling":
        with_pops = next(case for case in found.cases if "pops" in case)
        numbers = {q: found.series(with_pops, "ours", q)[0] for q in ("tokens", "tokens_fed", "last_pushes", "pops")}
        assert numbers["tokens_fed"] == numbers["tokens"] - numbers["last_pushes"] and numbers["pops"] > 0
        assert found.series("rows end together", "generate", "tokens")[0] == 4 * 10
    if benchmark == "concurrent":
        assert found.cases == ["4 + 8 tokens, batch 2"] and "of a step is spent waiting for rollouts" in page
        waiting = {mode: found.series(found.cases[0], mode, "waiting") for mode in ("mle", "between", "beside")}
        assert not waiting["mle"].any() and all((share < 1).all() for share in waiting.values())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"geometries": "six+ten"}, "'six+ten' is no geometry: write lengths of prompt and continuation as 256+768"),
        ({"pops": "0.5"}, "--measured.pops is '0.5', but must be a number above 0 and below 0.5"),
        ({"context": "16"}, "sequences take up to 32 positions"),
    ],
)
def test_bad_options_end_in_one_sentence(tmp_path, options, sentence):
    done = run("measure_overheads", **(TINY | {"part": "steps", "output": tmp_path / "m"} | options), check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: ") and sentence in done.stderr
    assert not (tmp_path / "m").exists()


def test_a_measurement_has_the_threads_of_a_training_job(tmp_path):
    """Though Snakemake tells the libraries of a job to use all of its cores."""
    tree, measured = reduced.make_tree(tmp_path), "results/smoke/overheads/table4/sampling"
    done = reduced.run(tree, "--cores", "3", target=measured, settings=["scale=smoke"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tree / measured / "facts.json").read_text())["threads"] == 1
