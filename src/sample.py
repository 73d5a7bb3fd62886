"""Let a trained model complete the examples of a split, and measure how it meets wrong tokens.

--noise.kind is that of the training noise: the wrong tokens that perturbed decoding writes.
"""

from pathlib import Path

from sequencematch import script
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.noise import Noise
from sequencematch.settings.options import add_settings, settings_from

READ = Evaluation.model_fields.keys() - {"judge", "shown"}  # and of text, how many examples are shown


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Evaluation, {*READ, "shown"})
    add_settings(parser, Noise, {"kind"})
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--examples", type=Path, required=True, help="folder of examples")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder")
    parser.add_argument("--policy", type=Path, help="model folder that proposes wrong tokens (corruption 'model')")
    parser.add_argument("--output", type=script.output, required=True, help="samples to write (JSON lines)")
    parser.add_argument("--repair", type=script.output, required=True, help="answers to wrong tokens to write (JSON)")
    parser.add_argument("--showcase", type=script.output, required=True, help="shown examples to write (JSON lines)")
    parser.add_argument("--seed", type=int, required=True, help="seed of the samples")
    script.add_device_options(parser)
    args = parser.parse_args()
    evaluation = settings_from(args, Evaluation, READ)
    noise = settings_from(args, Noise, {"kind"} if evaluation.uses_training_noise else ())

    from sequencematch.data.examples import load_examples
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.evaluation.completions import complete
    from sequencematch.evaluation.wrong_tokens import older_errors, repair, table_8_examples
    from sequencematch.model.build import load_policy
    from sequencematch.model.processes import lone_device
    from sequencematch.store import provenance
    from sequencematch.store.files import write_json, write_json_lines

    device = lone_device(args.gpus)
    tokenizer = load_tokenizer(args.tokenizer)
    policy, _ = load_policy(args.model)
    tokenizer.check_belongs(policy.bkspc, args.tokenizer, args.model)
    provenance.check_one_tokenizer(args.tokenizer, args.model, args.examples, *([args.policy] if args.policy else []))
    policy.to(device)
    splits, facts = load_examples(args.examples)
    examples, family = splits[evaluation.split], facts["family"]
    if FAMILIES[family].judged:
        evaluation = settings_from(args, Evaluation, {*READ, "shown"})

    completions = complete(policy, examples, family, noise.kind, evaluation, args.seed, tokenizer)
    write_json_lines(args.output, completions)
    answers = repair(policy, splits, family, evaluation, args.policy, args.seed, tokenizer)
    asked = (family, noise.kind, evaluation, args.seed, tokenizer, args.policy)
    errors = older_errors(policy, examples, splits["train"], *asked)
    write_json(args.repair, answers | {"older_errors": errors})
    write_json_lines(args.showcase, table_8_examples(policy, examples, family, evaluation, args.seed, tokenizer))


if __name__ == "__main__":
    script.run(main)
