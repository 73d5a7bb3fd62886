"""Score a run's samples: accuracy or BLEU, backspace statistics, repair and false-alarm rates, as one JSON file."""

from pathlib import Path

from sequencematch import script
from sequencematch.results.metrics import score
from sequencematch.store.files import write_json


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="samples.jsonl of the run")
    parser.add_argument("--repair", type=Path, required=True, help="repair.json of the run")
    parser.add_argument("--model", type=Path, required=True, help="model folder that was sampled (its provenance.json)")
    parser.add_argument("--examples", type=Path, required=True, help="examples of the task (their provenance.json)")
    parser.add_argument("--judged", type=Path, help="judged.json of the run (tasks of open text alone)")
    parser.add_argument("--scale", required=True, help="name of the scale the run belongs to")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--method", required=True, help="name of the method, e.g. sm or sm_js")
    parser.add_argument("--eta", type=float, required=True, help="noise level of the run; 0 for mle and uls")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run")
    parser.add_argument("--output", type=script.output, required=True, help="metrics.json to write")
    args = parser.parse_args()
    run = {name: getattr(args, name) for name in ("scale", "task", "method", "eta", "seed")}
    write_json(args.output, score(run, args.samples, args.repair, args.model, args.examples, args.judged))


if __name__ == "__main__":
    script.run(main)
