"""Judge a run's sampled continuations of text: perplexity under another model, MAUVE, and how they repeat themselves.

The judge is a model folder of the same task (--judge-model), or any causal LM by hub name or path (--evaluation.judge).
"""

from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.options import add_settings, settings_from

READ = ("split", "batch", "judge")


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Evaluation, READ)
    parser.add_argument("--judge-model", type=Path, help="model folder of the same task that judges, if none is named")
    parser.add_argument("--samples", type=Path, required=True, help="samples.jsonl of the run")
    parser.add_argument("--model", type=Path, required=True, help="model folder that was sampled")
    parser.add_argument("--examples", type=Path, required=True, help="folder of examples")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer folder")
    parser.add_argument("--output", type=script.output, required=True, help="judged.json to write")
    script.add_device_options(parser)
    args = parser.parse_args()
    evaluation = settings_from(args, Evaluation, READ)
    if bool(evaluation.judge) == bool(args.judge_model):
        raise UserError(
            "name one judge: a model folder (--judge-model), or a causal LM by hub name or path (--evaluation.judge)"
        )

    from sequencematch.data.examples import load_examples
    from sequencematch.store import provenance

    splits, facts = load_examples(args.examples)
    if not FAMILIES[facts["family"]].judged:
        raise UserError(f"'{args.examples}' holds examples of {facts['family']}: text alone is judged by a model")

    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.evaluation.judging import judge_run, pretrained_judge, read_actions, trained_judge
    from sequencematch.model.build import load_policy
    from sequencematch.model.processes import lone_device
    from sequencematch.store.files import write_json

    device = lone_device(args.gpus)
    provenance.check_made_from(args.samples, "model", provenance.identity(args.model), f"the model in '{args.model}'")
    whole = provenance.identity(args.examples)
    provenance.check_made_from(args.samples, "examples", whole, f"the examples in '{args.examples}'")
    trained = [args.model, *([args.judge_model] if args.judge_model else [])]
    provenance.check_one_tokenizer(args.tokenizer, args.samples, args.examples, *trained)
    examples = splits[evaluation.split]
    sampled = read_actions(args.samples, len(examples))
    if args.judge_model:
        judge = trained_judge(args.judge_model, args.model)
    else:
        judge = pretrained_judge(evaluation.judge, load_tokenizer(args.tokenizer))
    judge.policy.to(device)
    policy = load_policy(args.model)[0].to(device)
    prompts, real = [example.prompt for example in examples], [example.completion for example in examples]
    write_json(args.output, judge_run(judge, policy, prompts, real, sampled, evaluation.batch))


if __name__ == "__main__":
    script.run(main)
