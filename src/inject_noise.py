"""Noise the completions of examples: wrong tokens, then as many backspaces."""

from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.settings.model import Model
from sequencematch.settings.noise import Noise
from sequencematch.settings.options import add_settings, settings_from


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Noise)
    add_settings(parser, Model, {"deletions"})
    parser.add_argument("--examples", type=Path, required=True, help="folder of examples")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder")
    parser.add_argument("--output", type=script.output, required=True, help="folder of noised examples to write")
    parser.add_argument("--eta", type=float, required=True, help="chance of a wrong token before each true one")
    parser.add_argument("--seed", type=int, required=True, help="seed of the noise")
    parser.add_argument("--policy", type=Path, help="model folder that writes wrong tokens (kind or rest 'model')")
    script.add_kernels_option(parser)
    args = parser.parse_args()
    noise = settings_from(args, Noise, None if args.eta else ())
    deletions = settings_from(args, Model, {"deletions"} if args.eta else ()).deletions
    if not 0 <= args.eta < 1:
        raise UserError(f"--eta {args.eta:g}: the noise level must lie in [0, 1)")

    from sequencematch.data.examples import load_examples
    from sequencematch.data.noise import KINDS, noise_split
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.store import provenance
    from sequencematch.store.datasets import save

    examples, source = load_examples(args.examples)
    tokenizer = load_tokenizer(args.tokenizer)
    provenance.check_one_tokenizer(args.tokenizer, args.examples, *([args.policy] if args.policy else []))
    weights, continuations = None, None
    if args.eta and noise.kind == "model":
        from sequencematch.model.likely_noise import model_noise

        weights = model_noise(tokenizer, args.policy)
    elif args.eta:
        weights = KINDS[noise.kind](tokenizer, examples["train"])
    if args.eta and noise.rest == "model":
        from sequencematch.sampling.continued_noise import policy_continuations

        continuations = policy_continuations(tokenizer, args.policy)
    draws = noise.draws if args.eta else 1  # without noise all draws are the same

    splits = {}
    for split, n in (("train", draws), ("validation", 1)):
        how = (tokenizer.bkspc, (args.seed, "noise", split), noise.run, continuations, deletions)
        splits[split] = noise_split(examples[split], args.eta, n, weights, *how)
    facts = {
        "settings": noise.model_dump(),
        "deletions": deletions,
        "eta": args.eta,
        "seed": args.seed,
        "policy": str(args.policy) if args.policy else None,
        "examples_digest": source["digest"],
        "injected": {name: sum(i.count(False) for i in split["imitated"]) for name, split in splits.items()},
    }
    save(splits, args.output, facts)


if __name__ == "__main__":
    script.run(main)
