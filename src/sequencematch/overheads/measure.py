"""The measurements: which rows are timed on which cases, and what is recorded of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from tqdm import tqdm

from sequencematch import core
from sequencematch.overheads.concurrent import timed_steps, trainers
from sequencematch.overheads.steps import (
    ROWS,
    SPECIAL_IDS,
    Bench,
    Case,
    Data,
    Row,
    copied_tokens,
    new_bench,
    now,
    peak_memory,
    prepare_forks,
    score_copies,
    score_trees,
    tree_tokens,
)
from sequencematch.results.measured import Measured, Value
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import sample
from sequencematch.seeding import stable_seed
from sequencematch.settings.model import Model
from sequencematch.settings.overheads import Overhead, parse_geometry
from sequencematch.store import provenance

GROWING = ("mle", "bc", "sm_paper", "sm", "sm_shared")  # rows that are measured over lengths and batches
BENCHMARK_REPEATS, GROWTH_REPEATS = 5, 3

# A piece of work that can be timed. A call does it once, and returns quantities by name.
Work = Callable[[], dict[str, float]]


def in_turn(works: Mapping[str, Work], repeats: int, case: str, warm: bool = True) -> Iterator[Value]:
    """Run all works ``repeats`` times, one after the other, so that all are exposed to the same noise.

    warm: whether each runs once untimed before.
    """
    for work in works.values() if warm else ():
        work()
    progress = tqdm(total=repeats * len(works), desc=case, unit="piece", mininterval=0.5)
    for repeat in range(repeats):
        for row, work in works.items():
            yield from (Value(case, row, name, repeat, number) for name, number in work().items())
            progress.update()
    progress.close()


def measure_steps(model: Model, settings: Overhead) -> Measured:
    """Steps in parts, generations, tokens and memory of every row, at every geometry."""
    cases = [Case(*parse_geometry(geometry), settings.batch) for geometry in settings.geometries]
    prepare_forks()
    values = [
        Value(case.name, row, "peak_memory", None, peak_memory(model, settings, row, case))
        for case in cases
        for row in ROWS
    ]
    bench = new_bench(model, settings)
    for case in cases:
        data = bench.data(case)
        values += _tokens(bench, data, case)
        values += in_turn({row: partial(bench.step, ROWS[row], data) for row in ROWS}, settings.repeats, case.name)
        values += _generations(bench, case)
    return Measured(values, facts(bench, model))


def _generations(bench: Bench, case: Case) -> Iterator[Value]:
    """Time the generation of rollouts, once for all rows that draw them in the same way.

    There is no warm-up run, because generations are long.
    """
    rows_of = {
        how.sample: [row for row in ROWS if ROWS[row].sample is how.sample] for how in ROWS.values() if how.sample
    }
    works = {rows[0]: partial(_generation, bench, rows[0], case) for rows in rows_of.values()}
    sharing = {rows[0]: rows for rows in rows_of.values()}
    for value in in_turn(works, bench.settings.sampling_repeats, case.name, warm=False):
        yield from (replace(value, row=row) for row in sharing[value.row])


def _generation(bench: Bench, row: str, case: Case) -> dict[str, float]:
    return {"generation": bench.generation(row, case)}


def measure_growth(model: Model, settings: Overhead) -> Measured:
    """The step of each row over contexts, and over batches at the shortest context."""
    contexts = [Case(length // 4, length - length // 4, settings.batch) for length in sorted(settings.contexts)]
    batches = [replace(contexts[0], batch=batch) for batch in settings.batches] if contexts else []
    bench = new_bench(model, settings)
    values: list[Value] = []
    for case in dict.fromkeys([*contexts, *batches]):
        data, length = bench.data(case), case.prompt + case.continuation
        values += [Value(case.name, "", "context", None, length), Value(case.name, "", "batch", None, case.batch)]
        values += _tokens(bench, data, case)
        works = {row: partial(bench.step, ROWS[row], data) for row in GROWING}
        values += in_turn(works, GROWTH_REPEATS, case.name, warm=case == contexts[0])
    return Measured(values, facts(bench, model))


def measure_masking(model: Model, settings: Overhead) -> Measured:
    """A step of BC on noised data, by Algorithm 2 and by state trees, with everything else equal.

    Also measures the bytes of their masks.
    """
    bench = new_bench(model, settings)
    values: list[Value] = []
    rows = {
        "algorithm_2": Row("bc", score_copies, copied_tokens),
        "state_tree": Row("bc", score_trees, tree_tokens),
    }
    for length in settings.masked:
        case = Case(4, length - 4, max(1, max(settings.masked) // length))
        data = bench.data(case)
        noised = [(row,) for row in data.noised]
        masks = {
            "algorithm_2": core.algorithm_2(data.noised, bench.policy.bkspc)[0].mask,
            "state_tree": core.state_tree(noised, bench.policy.bkspc)[0].end,
        }
        values += [
            Value(f"{length}", row, "mask_bytes", None, mask.nbytes) for row, mask in masks.items() if mask is not None
        ]
        works = {row: partial(bench.step, how, data) for row, how in rows.items()}
        values += in_turn(works, BENCHMARK_REPEATS, f"{length}")
    return Measured(values, facts(bench, model))


def measure_projection(model: Model, settings: Overhead) -> Measured:
    """A step of BC by state trees: with all logits computed at once, and as in training."""
    case = Case(*parse_geometry(settings.geometries[0]), settings.batch)
    bench = new_bench(model, settings)
    data = bench.data(case)
    rows = {"all_logits": Row("bc", score_trees, tree_tokens), "training": ROWS["bc"]}
    works = {row: partial(bench.step, how, data) for row, how in rows.items()}
    return Measured(list(in_turn(works, BENCHMARK_REPEATS, case.name)), facts(bench, model))


def measure_sampling(model: Model, settings: Overhead) -> Measured:
    """Tokens per second of our sampler and of transformers' ``generate``: same network, batch, lengths, temperature 1.

    Without pops, there are two cases. In the first, all rows end together. In the second, there are four batches of
    prompts and so many tokens count as ``<eos>`` that a row ends after half the continuation on average. With pops,
    only our sampler runs. Its forward passes are counted, and must be as ``rollout.Counts`` says.
    """
    bench = new_bench(model, settings)
    values: list[Value] = []
    case = Case(*parse_geometry(settings.geometries[0]), settings.batch)
    prompts = [list(prompt) for prompt in bench.prompts(case)]
    few = max(1, round(2 * bench.policy.bkspc / case.continuation))
    ends = list(range(SPECIAL_IDS["eos"], SPECIAL_IDS["eos"] + few))
    bench.policy.eval()
    for name, eos, many in (
        ("rows end together", None, prompts),
        ("rows end at different times", ends, prompts * 4),
    ):
        works = {
            "generate": partial(_by_generate, bench, many, case.continuation, eos),
            "ours": partial(_by_sample, bench, many, Decoding(case.continuation), eos, backspace=False),
        }
        values += in_turn(works, settings.repeats, name)
    pops = partial(_by_sample, bench, prompts, bench.decoding(case, prompts), None, backspace=True)
    values += in_turn({"ours": pops}, 1, f"a share of {settings.pops:g} are pops")
    return Measured(values, facts(bench, model))


def measure_concurrent(model: Model, settings: Overhead) -> Measured:
    """A training step without rollouts (MLE), with rollouts drawn between steps, and with concurrent rollouts.

    The trainer itself is measured, at the last geometry, with one thread for each process.
    """
    case = Case(*parse_geometry(settings.geometries[-1]), settings.batch)
    bench = new_bench(model, settings)
    with trainers(bench.policy, model, settings, case) as runs:
        works = {mode: partial(timed_steps, run) for mode, run in runs.items()}
        return Measured(list(in_turn(works, BENCHMARK_REPEATS, case.name)), facts(bench, model) | {"threads": 1})


def _by_generate(bench: Bench, prompts: Sequence[list[int]], longest: int, eos: list[int] | None) -> dict[str, float]:
    lm, batch, tokens = bench.policy.lm, bench.settings.generate, 0
    lm.generation_config.eos_token_id, ours = eos, lm.config._attn_implementation
    lm.set_attn_implementation("sdpa")
    options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": longest}
    torch.manual_seed(0)
    start = now(bench.policy)
    for first in range(0, len(prompts), batch):
        given = torch.tensor(prompts[first : first + batch], device=bench.policy.device)
        whole = torch.ones_like(given)
        written = lm.generate(given, attention_mask=whole, pad_token_id=SPECIAL_IDS["pad"], **options)
        for row in written[:, given.shape[1] :].tolist():
            ended = [place for place, token in enumerate(row) if eos and token in eos]
            tokens += ended[0] + 1 if ended else len(row)
    seconds = now(bench.policy) - start
    lm.set_attn_implementation(ours)
    return {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds}


def _by_sample(
    bench: Bench,
    prompts: Sequence[list[int]],
    decoding: Decoding,
    eos: list[int] | None,
    backspace: bool,
) -> dict[str, float]:
    policy = bench.policy
    policy.backspace, policy.lm.config.eos_token_id = backspace, eos
    streams = [stable_seed("overhead", "sampling", k) for k in range(len(prompts))]
    start = now(policy)
    rollouts, counts = sample(policy, prompts, decoding, streams, batch=bench.settings.generate)
    seconds = now(policy) - start
    # The last push of a rollout needs no forward pass, any other one exactly one; a pop none.
    last = sum(rollout.actions[-1] != policy.bkspc for rollout in rollouts)
    if counts.tokens != counts.pushes - last:
        raise AssertionError(f"{counts} for {len(rollouts)} rollouts: forward passes and pushes do not match")
    found = {"seconds": seconds, "tokens": counts.pushes, "tokens_per_second": counts.pushes / seconds}
    return found | ({"pops": counts.pops, "tokens_fed": counts.tokens, "last_pushes": last} if backspace else {})


def _tokens(bench: Bench, data: Data, case: Case) -> Iterator[Value]:
    """Positions that a step of each row encodes, without padding."""
    for name, row in ROWS.items():
        tokens = sum(row.tokens(encoded, bench.policy.bkspc) for encoded in data.rows(row.loss))
        yield Value(case.name, name, "tokens", None, tokens)


def facts(bench: Bench, model: Model) -> dict:
    """Facts about the network, the machine and the settings."""
    about = provenance.describe()
    cuda = bench.policy.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in bench.policy.parameters()),
        "machine": about["machine"],
        "commit": about["commit"][:12] + (" with uncommitted changes" if about["uncommitted_changes"] else ""),
        "steps_per_sample": bench.settings.steps_per_sample,
        "random_weights": model.source == "scratch",
        "model": model.model_dump(),
        "settings": bench.settings.model_dump(),
    }


MEASURE = {
    "steps": measure_steps,
    "growth": measure_growth,
    "masking": measure_masking,
    "projection": measure_projection,
    "sampling": measure_sampling,
    "concurrent": measure_concurrent,
}
