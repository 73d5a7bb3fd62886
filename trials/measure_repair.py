"""How well a pretrained model repairs texts with wrong words by the rule of ``takeback/``, on CPython's manual.

In each passage some words are replaced by other words of the manual. Its first words are the prompt, the rest is the
draft. A word is found if one of its tokens falls under the rule: in the unchanged text, or during repair, after words
that the model wrote instead of others. A right word that is found is falsely accused. For example:

    python trials/measure_repair.py --model FOLDER --output repair
"""

import math
from dataclasses import dataclass
from pathlib import Path

from keep import keep

from sequencematch import script
from sequencematch.data.python_topics import python_topics
from sequencematch.errors import UserError
from sequencematch.seeding import generator

PROMPT, WORDS, GAP = 10, 40, 6  # words of a prompt, of a passage, and between two wrong ones at least


@dataclass
class Passage:
    """Words, some of them wrong; ``right`` holds the original words by place."""

    words: list[str]
    right: dict[int, str]


def main() -> None:
    parser = script.parser(__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a causal model")
    parser.add_argument("--passages", type=int, default=60, help="texts to repair (default: 60)")
    parser.add_argument("--batch", type=int, default=20, help="texts at once (default: 20)")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.1, 0.01, 0.001], help="default: 0.1 0.01 0.001")
    parser.add_argument("--output", type=script.output, required=True, help="folder to write")
    args = parser.parse_args()
    if not (args.model / "config.json").is_file():
        raise UserError(f"'{args.model}' is no folder of a model (config.json is missing)")

    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(args.model).eval()
    texts = passages(args.passages)
    found = {ratio: measure(model, tokenizer, texts, ratio, args.batch) for ratio in args.ratios}
    keep(args.output, {str(ratio): numbers for ratio, numbers in found.items()}, table(found))


def passages(n: int) -> list[Passage]:
    """The beginnings of n documents, with wrong words in them."""
    documents = [text.split()[:WORDS] for text in python_topics()]
    every = sorted(
        {word for words in documents for word in words if word.isalpha() and word.islower() and len(word) > 3}
    )
    made = []
    for k, words in enumerate(documents[:n]):
        random = generator("repair", k)
        right: dict[int, str] = {}
        for place in range(PROMPT, len(words)):
            if words[place] in every and place - max(right, default=-GAP) >= GAP and random.random() < 0.3:
                right[place] = words[place]
                words[place] = every[int(random.integers(len(every)))]
        made.append(Passage(words, {place: word for place, word in right.items() if words[place] != word}))
    return made


def measure(model, tokenizer, texts: list[Passage], ratio: float, batch: int) -> dict:
    """Counts of words, and one repaired text."""
    counts = dict.fromkeys(("wrong", "found", "restored", "right", "accused", "found_read", "accused_read"), 0)
    for first in range(0, len(texts), batch):
        some = texts[first : first + batch]
        given = tokenizer([" ".join(t.words[:PROMPT]) for t in some], return_tensors="pt", padding=True)
        drafts = [[tokenizer.encode(" " + word, add_special_tokens=False) for word in t.words[PROMPT:]] for t in some]
        written = [[token for word in draft for token in word] for draft in drafts]
        output = model.generate(
            **given,
            custom_generate=str(Path(__file__).resolve().parents[1] / "takeback"),
            trust_remote_code=True,
            takeback_ratio=ratio,
            draft_ids=written,
            do_sample=False,
            stopping_criteria=[_Written(written)],
            max_new_tokens=10 * WORDS,
            return_dict_in_generate=True,
        )
        for text, draft, actions in zip(some, drafts, output.actions.tolist(), strict=True):
            deleted, instead = repaired(draft, actions, model.config.vocab_size)
            for place, unlikely in enumerate(read(model, tokenizer, text, draft, ratio), PROMPT):
                counts["found_read" if place in text.right else "accused_read"] += unlikely
            for place, taken in enumerate(deleted, PROMPT):
                if place in text.right:
                    counts["wrong"] += 1
                    counts["found"] += taken
                    again = tokenizer.encode(" " + text.right[place], add_special_tokens=False)[0]
                    counts["restored"] += instead[place - PROMPT] == again
                else:
                    counts["right"] += 1
                    counts["accused"] += taken
    return counts


def read(model, tokenizer, text: Passage, draft: list[list[int]], ratio: float) -> list[bool]:
    """The words of the draft with a token under the rule. The text is read in one pass, and nothing is replaced."""
    import torch

    ids = tokenizer.encode(" ".join(text.words[:PROMPT]))
    at, found = len(ids), []
    ids = ids + [token for word in draft for token in word]
    with torch.no_grad():
        log_policy = model(torch.tensor([ids])).logits[0, :-1].float().log_softmax(-1)
    written = log_policy.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    unlikely = (written < log_policy.amax(-1) + math.log(ratio)).tolist()
    for word in draft:
        found.append(any(unlikely[at - 1 : at - 1 + len(word)]))
        at += len(word)
    return found


class _Written:
    """Stop a batch once every draft is written. With greedy decoding, each token of a draft is kept or replaced."""

    def __init__(self, drafts: list[list[int]]):
        self.longest = max(map(len, drafts))
        self.start: int | None = None

    def __call__(self, ids, scores, **kwargs):
        self.start = ids.shape[1] - 1 if self.start is None else self.start
        return ids[:, -1].ge(0) & (ids.shape[1] - self.start >= self.longest)


def repaired(draft: list[list[int]], actions: list[int], deletion: int) -> tuple[list[bool], list[int | None]]:
    """The words that had a token deleted, and what the model wrote in place of their first token."""
    deleted, instead, at = [], [], 0
    for word in draft:
        taken, replaced = False, None
        for k in range(len(word)):
            at += 1
            while at < len(actions) and actions[at] == deletion:
                taken, at = True, at + 2  # the deletion, and what was written instead
                if k == 0:
                    replaced = actions[at - 1]
        deleted.append(taken)
        instead.append(replaced)
    return deleted, instead


def table(found: dict[float, dict]) -> str:
    """Shares of words in Markdown, a row for each ratio."""
    columns = "ratio", "wrong words found", "right words accused", "found in repair", "accused in repair", "restored"
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for ratio, n in found.items():
        of_wrong, of_right = ("found_read", "found", "restored"), ("accused_read", "accused")
        first, second, third = (n[name] / n["wrong"] for name in of_wrong)
        accused, in_repair = (n[name] / n["right"] for name in of_right)
        shares = first, accused, second, in_repair, third
        lines.append(f"| {ratio:g} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    counts = next(iter(found.values()))
    return "\n".join(lines) + f"\n\n{counts['wrong']} wrong words among {counts['wrong'] + counts['right']}.\n"


if __name__ == "__main__":
    script.run(main)
