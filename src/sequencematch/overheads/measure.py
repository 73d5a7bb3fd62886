"""The measurements: which rows are timed on which cases, and what is recorded of them."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from tqdm import tqdm

from sequencematch import core
from sequencematch.model.build import load_policy, save_policy
from sequencematch.model.policy import Policy
from sequencematch.overheads import steps as step
from sequencematch.overheads.steps import ROWS, SPECIAL_IDS, Bench, Case, Data, Row, now
from sequencematch.results.measured import Measured, Value
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import sample
from sequencematch.seeding import stable_seed
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.model import Model
from sequencematch.settings.overheads import Overhead, parse_geometry
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule
from sequencematch.store import provenance
from sequencematch.training.batches import Corpus
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import Run, Trainer

GROWING = ("mle", "bc", "sm_paper", "sm", "sm_shared")  # rows that are measured over lengths and batches
BENCHMARK_REPEATS, GROWTH_REPEATS = 5, 3

MASKED = {
    "algorithm_2": Row("bc", step.score_copies, step.copied_tokens),
    "state_tree": Row("bc", step.score_trees, step.tree_tokens),
}

# A piece of work that can be timed. A call does it once, and returns quantities by name.
Work = Callable[[], dict[str, float]]


def in_turn(works: Mapping[str, Work], repeats: int, case: str, warm: bool = True) -> Iterator[Value]:
    """Run all works in turn, ``repeats`` times, so that all meet the same noise; ``warm``: and once untimed before."""
    for work in works.values() if warm else ():
        work()
    with tqdm(total=repeats * len(works), desc=case, unit="piece", mininterval=0.5) as progress:
        for repeat, (row, work) in itertools.product(range(repeats), works.items()):
            yield from (Value(case, row, name, repeat, number) for name, number in work().items())
            progress.update()


def measure(part: str, model: Model, settings: Overhead) -> Measured:
    """What one part of an overhead table is made from (``PARTS``)."""
    memory = list(_memory(model, settings)) if part == "steps" else []  # before this process computes anything
    bench = step.new_bench(model, settings)
    values = [*memory, *PARTS[part](bench)]
    return Measured(values, facts(bench) | ({"threads": 1} if part == "concurrent" else {}))


def _cases(settings: Overhead) -> list[Case]:
    return [Case(*parse_geometry(geometry), settings.batch) for geometry in settings.geometries]


def _memory(model: Model, settings: Overhead) -> Iterator[Value]:
    step.prepare_forks()
    for case, row in itertools.product(_cases(settings), ROWS):
        yield Value(case.name, row, "peak_memory", None, step.peak_memory(model, settings, row, case))


def steps(bench: Bench) -> Iterator[Value]:
    """Steps in parts, generations and tokens of every row, at every geometry."""
    for case in _cases(bench.settings):
        data = bench.data(case)
        yield from _tokens(bench, data, case)
        works = {row: partial(bench.step, how, data) for row, how in ROWS.items()}
        yield from in_turn(works, bench.settings.repeats, case.name)
        yield from _generations(bench, case)


def _generations(bench: Bench, case: Case) -> Iterator[Value]:
    """Time generations, once for all rows that draw them in the same way, and not warmed up, because they are long."""
    drawing = {row: how.sample for row, how in ROWS.items() if how.sample}
    first = {draw: row for row, draw in reversed(drawing.items())}
    works = {row: partial(bench.generation, draw, case) for row, draw in drawing.items() if row == first[draw]}
    for value in in_turn(works, bench.settings.sampling_repeats, case.name, warm=False):
        yield from (replace(value, row=row) for row, draw in drawing.items() if first[draw] == value.row)


def growth(bench: Bench) -> Iterator[Value]:
    """The step of each row over contexts, and over batches at the shortest context."""
    settings = bench.settings
    contexts = [Case(length // 4, length - length // 4, settings.batch) for length in sorted(settings.contexts)]
    batches = [replace(contexts[0], batch=batch) for batch in settings.batches] if contexts else []
    for case in dict.fromkeys([*contexts, *batches]):
        data = bench.data(case)
        yield Value(case.name, "", "context", None, case.prompt + case.continuation)
        yield Value(case.name, "", "batch", None, case.batch)
        yield from _tokens(bench, data, case)
        works = {row: partial(bench.step, ROWS[row], data) for row in GROWING}
        yield from in_turn(works, GROWTH_REPEATS, case.name, warm=case == contexts[0])


def masking(bench: Bench) -> Iterator[Value]:
    """A step of BC on noised data by Algorithm 2 and by state trees, all else equal, and the bytes of their masks."""
    lengths, bkspc = bench.settings.masked, bench.policy.bkspc
    for length in lengths:
        data = bench.data(Case(4, length - 4, max(1, max(lengths) // length)))
        masks = {
            "algorithm_2": core.algorithm_2(data.noised, bkspc)[0].mask,
            "state_tree": core.state_tree([(row,) for row in data.noised], bkspc)[0].end,
        }
        for row, mask in masks.items():
            if mask is not None:
                yield Value(f"{length}", row, "mask_bytes", None, mask.nbytes)
        works = {row: partial(bench.step, how, data) for row, how in MASKED.items()}
        yield from in_turn(works, BENCHMARK_REPEATS, f"{length}")


def projection(bench: Bench) -> Iterator[Value]:
    """A step of BC by state trees: with all logits computed at once, and as in training."""
    case, rows = _cases(bench.settings)[0], {"all_logits": MASKED["state_tree"], "training": ROWS["bc"]}
    data = bench.data(case)
    works = {row: partial(bench.step, how, data) for row, how in rows.items()}
    return in_turn(works, BENCHMARK_REPEATS, case.name)


def sampling(bench: Bench) -> Iterator[Value]:
    """Tokens per second of our sampler and of transformers' ``generate``: same network, batch, lengths, temperature 1.

    Without pops, there are two cases. In the first, all rows end together. In the second, there are four batches of
    prompts and so many tokens count as ``<eos>`` that a row ends after half the continuation on average. With pops,
    only our sampler runs. Its forward passes are counted, and must be as ``rollout.Counts`` says.
    """
    case = _cases(bench.settings)[0]
    prompts = [list(prompt) for prompt in bench.prompts(case)]
    few = max(1, round(2 * bench.policy.bkspc / case.continuation))
    ends = list(range(SPECIAL_IDS["eos"], SPECIAL_IDS["eos"] + few))
    bench.policy.eval()
    for name, eos, many in (("rows end together", None, prompts), ("rows end at different times", ends, prompts * 4)):
        works = {
            "generate": partial(_by_generate, bench, many, case.continuation, eos),
            "ours": partial(_by_sample, bench, many, Decoding(case.continuation), eos, backspace=False),
        }
        yield from in_turn(works, bench.settings.repeats, name)
    pops = partial(_by_sample, bench, prompts, bench.decoding(case, prompts), None, backspace=True)
    yield from in_turn({"ours": pops}, 1, f"a share of {bench.settings.pops:g} are pops")


# Steps that one generation serves, as in the paper at long contexts; a repeat has as many.
STEPS = 16
MODES = {"mle": "mle", "between": "sm", "beside": "sm"}


@contextmanager
def trainers(policy: Policy, model: Model, settings: Overhead, case: Case) -> Iterator[dict[str, Trainer]]:
    """Runs of each mode before their first step, on random tokens; rollouts are as long as the continuation.

    Each process computes with one thread, so that two cores are enough for training and rollouts.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        save_policy(policy, model, Path(folder))
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        runs = {}
        for mode in MODES:
            runs[mode] = stack.enter_context(closing(Trainer(_run(mode, model, settings, case, Path(folder)))))
        yield runs


def _run(mode: str, model: Model, settings: Overhead, case: Case, folder: Path) -> Run:
    rebuild = partial(_rebuilt, folder, LOSSES[MODES[mode]].backspace)
    policy = rebuild()
    many = Case(case.prompt, case.continuation, max(256, case.batch))
    rows = step.make_data(many, policy.bkspc, policy.bkspc, settings.eta, settings.pops).clean
    one = core.Trajectory(prompt=rows[0].prompt, actions=rows[0].actions[:1], imitated=[True])
    return Run(
        policy=policy,
        train=Corpus([rows], "random tokens"),
        validation=Corpus([[one]], "random tokens"),
        stage=Stage(MODES[mode], 0, *[1000 * STEPS] * 3),  # more than are timed
        optimiser=Optimiser(batch=case.batch, micro_batch=case.batch, learning_rate=1e-6),
        schedule=Schedule(),
        objective=Objective(),
        rollouts=Rollouts(
            generate=max(1, STEPS * case.batch // settings.seen),
            seen=settings.seen,
            share_prompts=True,
            max_actions=case.continuation,
            concurrent=mode == "beside",
            staleness=STEPS,
        ),
        seed=1,
        resume=folder / "none",
        precision=model.precision,
        rebuild=rebuild,
    )


def _rebuilt(folder: Path, backspace: bool) -> Policy:
    policy = load_policy(folder, backspace)[0]
    policy.lm.config.eos_token_id = None  # nothing ends a rollout early
    return policy


def timed_steps(run: Trainer) -> dict[str, float]:
    """Seconds of a step, averaged from one generation to the next, and the share of it spent waiting for rollouts."""
    start = perf_counter()
    waited = sum(run.gradient_step().get("rollout_wait", 0.0) for _ in range(STEPS))
    if run.rollouts is not None:
        run.rollouts.collect()  # otherwise a generation under way would run during the turn of another mode
    seconds = perf_counter() - start
    waited += run.rollouts.seconds_waited() if run.rollouts is not None else 0.0
    return {"step": seconds / STEPS, "waiting": waited / seconds}


def concurrent(bench: Bench) -> Iterator[Value]:
    """A training step without rollouts (MLE), with rollouts drawn between steps, and with concurrent rollouts.

    The trainer itself is measured, at the last geometry, with one thread for each process.
    """
    case = _cases(bench.settings)[-1]
    with trainers(bench.policy, bench.model, bench.settings, case) as runs:
        works = {mode: partial(timed_steps, run) for mode, run in runs.items()}
        yield from in_turn(works, BENCHMARK_REPEATS, case.name)


PARTS = {work.__name__: work for work in (steps, growth, masking, projection, sampling, concurrent)}


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
    bench: Bench, prompts: Sequence[list[int]], decoding: Decoding, eos: list[int] | None, backspace: bool
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


def facts(bench: Bench) -> dict:
    """Facts about the network, the machine and the settings."""
    about = provenance.describe()
    return {
        "device": torch.cuda.get_device_name() if bench.policy.device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in bench.policy.parameters()),
        "machine": about["machine"],
        "commit": about["commit"][:12] + (" with uncommitted changes" if about["uncommitted_changes"] else ""),
        "steps_per_sample": bench.settings.steps_per_sample,
        "random_weights": bench.model.source == "scratch",
        "model": bench.model.model_dump(),
        "settings": bench.settings.model_dump(),
    }
