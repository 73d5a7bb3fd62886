"""One sampler that deletes tokens, run by whatever Python has it: ``peer_worker.py SAMPLER MODEL THREADS``.

It needs torch and transformers, and the package that is measured; nothing of this project but ``takeback/``. Each line
of its input is a request in JSON, each line of its output the answer. ``{"seed": 1, "batch": 1, "length": 40}``
completes all prompts by that many live tokens, and is timed. With ``"check": true`` it completes two prompts, and
compares every log pi with a pass over the live tokens. All samplers have one rule: a token is deleted if its
probability, at temperature 1 and over the whole vocabulary, is below ``RATIO`` times that of the likeliest token.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

RATIO = 0.3
PROMPTS = (
    "The old lighthouse keeper climbed the stairs every evening because",
    "To bake bread at home you need",
    "In the spring of that year, the river",
    "She opened the letter and read:",
    "The main difference between a frog and a toad is that",
    "Our train left the station late, and",
    "When water freezes, it",
    "The committee agreed that the new bridge should",
)


class Run:
    """A model, and what a sampler did with it: forward passes, tokens written, live tokens."""

    def __init__(self, folder: str, threads: int):
        torch.set_num_threads(threads)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.generation_config.repetition_penalty = None
        self.model.register_forward_hook(self._passed)
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.passes = self.pushed = self.kept = 0
        self.worst = 0.0

    def _passed(self, *_) -> None:
        self.passes += 1

    @torch.no_grad()
    def compare(self, live: list[int], log_policy: torch.Tensor, token: int) -> None:
        """Record how far the sampler's log pi of a token is from that of a pass over the live tokens."""
        passes = self.passes
        exact = self.model(torch.tensor([live]), use_cache=False).logits[0, -1].log_softmax(-1)
        self.passes = passes
        self.worst = max(self.worst, abs(float(log_policy) - float(exact[token])))


def ours(run: Run, prompts: list[str], batch: int, length: int, check: bool) -> None:
    """Complete the prompts with the sampler of ``takeback/``."""
    folder = str(Path(__file__).resolve().parents[1] / "takeback")
    for first in range(0, len(prompts), batch):
        given = run.tokenizer(prompts[first : first + batch], return_tensors="pt", padding=True)
        width, outputs = given["input_ids"].shape[1], run.model.config.vocab_size
        found = run.model.generate(
            **given,
            do_sample=True,
            top_k=0,
            takeback_ratio=RATIO,
            max_new_tokens=20 * length,
            stopping_criteria=[lambda ids, _, most=width + length: ids[:, -1].new_tensor(ids.shape[1] >= most)],
            return_dict_in_generate=True,
            custom_generate=folder,
            trust_remote_code=True,
        )
        for b, actions in enumerate(found.actions.tolist()):
            live = given["input_ids"][b][given["attention_mask"][b].bool()].tolist()
            before = len(live)
            for action, log_policy in zip(actions, found.log_policy[b], strict=True):
                if action == outputs:
                    live.pop()
                elif action >= 0:
                    run.pushed += 1
                    if check:
                        run.compare(live, log_policy, action)
                    live.append(action)
            run.kept += len(live) - before


def backtracking_llm(run: Run, prompts: list[str], batch: int, length: int, check: bool) -> None:
    """Complete the prompts, one at a time, with backtracking-llm."""
    from backtracking_llm.generation import GenerationSession

    class Ratio:
        """The rule, in this package's form of one."""

        def __call__(self, logits, probabilities, position, token):
            return int(probabilities[position] < RATIO * probabilities[0])  # in order of probability

        def backtrack(self, n_tokens):
            pass

    outputs = run.model.config.vocab_size
    for prompt in prompts:
        session = GenerationSession(run.model, run.tokenizer, prompt, Ratio(), 1, length, top_k=outputs)
        while not session.done:
            live = session.token_ids[0].tolist()
            step = session.step()
            run.pushed += 1
            if check:
                # What was drawn from is returned in order of probability: the likeliest token's is the first.
                exact = step.probabilities.log()
                likeliest = _likeliest(run, live)
                run.compare(live, exact[0], likeliest)
            if step.backtrack_count:
                session.backtrack(step.backtrack_count)
        run.kept += session.generated_token_count


@torch.no_grad()
def _likeliest(run: Run, live: list[int]) -> int:
    passes = run.passes
    token = int(run.model(torch.tensor([live]), use_cache=False).logits[0, -1].argmax())
    run.passes = passes
    return token


def backtrack_sampler(run: Run, prompts: list[str], batch: int, length: int, check: bool) -> None:
    """Complete the prompts, one at a time, with backtrack-sampler."""
    from backtrack_sampler import BacktrackSampler
    from backtrack_sampler.provider.transformers_provider import TransformersProvider
    from backtrack_sampler.strategy.base_strategy import BaseStrategy

    class Ratio(BaseStrategy):
        """The rule, in this package's form of one."""

        def __init__(self):
            self.reset()

        def reset(self):
            self.unlikely = False

        def get_keep_index(self):
            return 0  # nothing is given out before the end

        def on_logits(self, logits, continuation_tokens):
            if check:
                log_policy = logits[0].log_softmax(-1)
                live = prompt_ids + continuation_tokens
                likeliest = _likeliest(run, live)
                run.compare(live, log_policy[likeliest], likeliest)
            return logits

        def on_probs(self, probs, continuation_tokens):
            return probs

        def on_next_token(self, continuation_tokens, probs):
            run.pushed += 1
            self.unlikely = bool(probs[0, continuation_tokens[-1]] < RATIO * probs.max())

        def backtrack(self, continuation_tokens):
            return continuation_tokens[:-1] if self.unlikely else continuation_tokens

    for prompt in prompts:
        prompt_ids = run.tokenizer.encode(prompt, add_special_tokens=False)
        provider = TransformersProvider(run.model, run.tokenizer, torch.device("cpu"))
        sampler = BacktrackSampler(provider, Ratio())
        run.kept += len(list(sampler.generate(prompt=prompt, max_new_tokens=length, top_k=0)))


SAMPLERS = {"takeback": ours, "backtracking-llm": backtracking_llm, "backtrack-sampler": backtrack_sampler}


def main() -> None:
    name, folder, threads = sys.argv[1:]
    run = Run(folder, int(threads))
    package = "transformers" if name == "takeback" else name
    print(json.dumps({"versions": {p: version(p) for p in {package, "transformers", "torch"}}}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        check = request.get("check", False)
        run.reset()
        torch.manual_seed(request.get("seed", 0))
        start = time.perf_counter()
        prompts = list(PROMPTS[:2] if check else PROMPTS)
        SAMPLERS[name](run, prompts, request.get("batch", 1), request.get("length", 40), check)
        seconds = time.perf_counter() - start
        answer = {"seconds": seconds, "passes": run.passes, "pushed": run.pushed, "kept": run.kept, "worst": run.worst}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
