"""Let a trained model answer the questions of a split, and measure how it meets wrong tokens."""

import json
from pathlib import Path

from sequencematch import cli
from sequencematch.settings import Evaluation, Noise


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, Evaluation)
    cli.add_settings(parser, Noise)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder")
    parser.add_argument("--policy", type=Path, help="model folder that proposes wrong tokens (noise kind 'model')")
    parser.add_argument("--output", type=Path, required=True, help="samples to write (JSON lines)")
    parser.add_argument("--repair", type=Path, required=True, help="answers to wrong tokens to write (JSON)")
    parser.add_argument("--seed", type=int, required=True, help="seed of the samples")
    args = parser.parse_args()
    evaluation, noise = cli.settings_from(args, Evaluation), cli.settings_from(args, Noise)

    from sequencematch import provenance
    from sequencematch.evaluation import complete, disturbed_questions, repair
    from sequencematch.files import write_json, write_text_atomically
    from sequencematch.policy import load_policy
    from sequencematch.storage import load
    from sequencematch.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(args.tokenizer)
    policy, _ = load_policy(args.model)
    data, _ = load(args.data)
    stream = (args.seed, "evaluation")
    questions, repaired = disturbed_questions(data, evaluation.split, noise.kind, tokenizer, args.policy, stream)
    records = complete(policy, questions, evaluation, args.seed, tokenizer)
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_text_atomically(args.output, lines)
    write_json(args.repair, repair(policy, repaired, evaluation))
    provenance.record(args, args.output, args.repair)


if __name__ == "__main__":
    cli.run(main)
