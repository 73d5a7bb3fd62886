"""Compare our sampler, which deletes tokens, with packages that do the same: one model, prompts, rule and seeds.

Each package is installed in an environment of its own, given as NAME=PYTHON with the interpreter there. Our sampler
runs in the same environment, so that both use the same version of transformers. The rounds of all samplers alternate.
For example:

    python -m venv /tmp/rewind && /tmp/rewind/bin/pip install torch==2.13.0 backtracking-llm==0.3.1 "transformers<5"
    python trials/measure_peers.py --model FOLDER --peers backtracking-llm=/tmp/rewind/bin/python --output peers
"""

import json
import subprocess
from pathlib import Path
from statistics import median

from keep import keep

from sequencematch import script
from sequencematch.errors import UserError

WORKER = Path(__file__).with_name("peer_worker.py")
PEERS = ("backtracking-llm", "backtrack-sampler")


class Worker:
    """A sampler in a process of its own, loaded once."""

    def __init__(self, name: str, python: str, model: Path, threads: int):
        command = [python, str(WORKER), name, str(model.resolve()), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin and self.process.stdout
        self.questions, self.answers = self.process.stdin, self.process.stdout
        self.name, self.python = name, python
        self.versions = self._answer()["versions"]

    def ask(self, **request) -> dict:
        """Send a request to the worker and wait for its answer."""
        print(json.dumps(request), file=self.questions, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        line = self.answers.readline()
        if not line:
            raise UserError(f"{self.name} under {self.python} ended early: see its message above")
        return json.loads(line)

    def close(self) -> None:
        """Let the worker end, and wait for it."""
        self.questions.close()
        self.process.wait()


def main() -> None:
    parser = script.parser(__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a causal model")
    parser.add_argument("--peers", nargs="+", required=True, metavar="NAME=PYTHON", help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each (default: 5)")
    parser.add_argument("--length", type=int, default=40, help="tokens of a completion (default: 40)")
    parser.add_argument("--batch", type=int, default=8, help="prompts at once, for ours (default: 8)")
    parser.add_argument("--threads", type=int, default=2, help="of each process; they take turns (default: 2)")
    parser.add_argument("--output", type=script.output, required=True, help="folder to write")
    args = parser.parse_args()
    pairs = [given.partition("=") for given in args.peers]
    for name, _, python in pairs:
        if name not in PEERS or not Path(python).exists():
            raise UserError(f"'{name}={python}' is no NAME=PYTHON of {', '.join(PEERS)} and an interpreter that exists")

    measured = {name: measure(name, python, args) for name, _, python in pairs}
    keep(args.output, measured, table(measured, args))


def measure(name: str, python: str, args) -> dict:
    """The rounds of a peer and of our sampler at batch 1 and at a larger batch, and the errors of both."""
    peer, ours = (Worker(which, python, args.model, args.threads) for which in (name, "takeback"))
    try:
        exact = {worker.name: worker.ask(check=True, length=args.length // 2) for worker in (peer, ours)}
        rows = {"peer": (peer, 1), "ours": (ours, 1), "batch": (ours, args.batch)}
        rounds: dict[str, list[dict]] = {row: [] for row in rows}
        for number in range(args.rounds):
            for row, (worker, batch) in list(rows.items())[:: 1 if number % 2 else -1]:
                rounds[row].append(worker.ask(seed=number, batch=batch, length=args.length))
        return {"versions": peer.versions, "exact": exact, "rounds": rounds}
    finally:
        peer.close()
        ours.close()


def table(measured: dict, args) -> str:
    """One row for each sampler, in Markdown; speeds relative to the peer's of the same round."""
    columns = (
        "environment",
        "sampler",
        "prompts at once",
        "live tokens per second",
        "ratio to the peer",
        "forward passes per token written",
        "largest error of log pi",
    )
    lines = [
        f"| {' | '.join(columns)} |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in measured.items():
        where = f"transformers {found['versions']['transformers']}"
        speeds = {row: [r["kept"] / r["seconds"] for r in rounds] for row, rounds in found["rounds"].items()}
        for row, rounds in found["rounds"].items():
            sampler = f"`{name}` {found['versions'][name]}" if row == "peer" else "ours"
            ratio = median(mine / theirs for mine, theirs in zip(speeds[row], speeds["peer"], strict=True))
            passes = sum(r["passes"] for r in rounds) / sum(r["pushed"] for r in rounds)
            worst = found["exact"][name if row == "peer" else "takeback"]["worst"]
            batch = args.batch if row == "batch" else 1
            numbers = f"{batch} | {median(speeds[row]):.1f} | {ratio:.2f} | {passes:.2f} | {worst:.1g}"
            lines.append(f"| {where} | {sampler} | {numbers} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    script.run(main)
