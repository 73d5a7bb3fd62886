"""The command ``sequencematch``: sample from a trained model, trace a sequence, export a model.

Modules are imported as a subcommand needs them: ``--help`` is instant, ``trace`` waits for torch alone.
"""

import argparse
import io
import json
import math
import sys
from functools import partial
from pathlib import Path

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.store.files import reason
from sequencematch.store.hub import trust_code

MOST_ACTIONS = 8192  # where none are named: a folder may promise any context
MARK = "⌫"  # how a deletion is shown as it happens
# The numbers that ``sample`` takes: their kind, bounds, default and meaning.
NUMBERS: dict[str, tuple[type, float, float, float | None, str]] = {
    "--max-actions": (int, 1, 10**6, None, f"actions (default: all that fit, up to {MOST_ACTIONS:,})"),
    "--temperature": (float, 0.001, 1000, 1.0, "0 is greedy"),
    "--top-p": (float, 1e-6, 1, 1.0, "nucleus mass; 1 is off"),
    "--top-k": (int, 0, 10**9, 0, "actions kept; 0 is all"),
    "--bkspc-bias": (float, -1000, 1000, 0.0, "added to the logit of <bkspc>"),
    "--takeback-ratio": (
        *(float, 0, 0.999, 0.0),
        "delete tokens less likely than X times the likeliest at their place (such as 0.3), whatever the model has "
        "learned; 0 is off",
    ),
    "--seed": (int, -(2**63), 2**63 - 1, 0, "the same seed draws the same actions"),
}
# Of --trust-remote-code: the folder is somebody's, the consent is yours.
TRUST = "run the Python code that the model's network comes with: read it first"
RED, DIM, PLAIN = "\x1b[31m", "\x1b[2m", "\x1b[0m"


def main(argv: list[str] | None = None) -> None:
    """Run the command line ``argv`` (default: the process's own); errors become one sentence and exit status 1."""
    for stream in (sys.stdout, sys.stderr):  # a character that the terminal's encoding lacks is written as an escape
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = script.parser((__doc__ or "").split("\n\n")[0])
    parser.prog = "sequencematch"
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_sample, _add_trace, _add_export):
        add(commands)
    args = parser.parse_args(argv)
    script.run(lambda: args.run(args), threads=None)


def _add_sample(commands) -> None:
    command = commands.add_parser("sample", help="complete a prompt, deletions visible", allow_abbrev=False)
    command.add_argument(
        "checkpoint",
        type=Path,
        metavar="MODEL",
        help="trained model folder; with --takeback-ratio any causal model's, or its name on the hub",
    )
    command.add_argument(
        "prompt", type=_text, metavar="PROMPT", help='for instance "In base 7, what is 25 + 3? Solution:"'
    )
    command.add_argument("--json", action="store_true", help="print actions, final text and log-probabilities")
    for name, (kind, least, most, default, meaning) in NUMBERS.items():
        number = _temperature if name == "--temperature" else script.plain(kind, least, most)
        letter = "N" if kind is int else "X"
        command.add_argument(name, type=number, default=default, metavar=letter, help=meaning)
    command.add_argument("--trust-remote-code", action="store_true", help=TRUST)
    command.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default: cpu)")
    command.set_defaults(run=_sample)


def _sample(args: argparse.Namespace) -> None:
    from sequencematch.core import live_tokens
    from sequencematch.export.prompts import as_trained
    from sequencematch.sampling.rollout import Decoding, sample

    if args.trust_remote_code:
        trust_code()
    device = _device(args.device)
    whose = _any_model if args.takeback_ratio and not (args.checkpoint / "policy.json").exists() else load_checkpoint
    policy, tokenizer = whose(args.checkpoint)
    prompt = tokenizer.prompt(as_trained(args.prompt))
    room = max(1, policy.context - len(prompt))
    numbers = args.temperature, args.top_p, args.top_k, args.bkspc_bias
    decoding = Decoding(args.max_actions or min(room, MOST_ACTIONS), *numbers, takeback_ratio=args.takeback_ratio)
    watch = None if args.json else partial(_show, tokenizer)
    if watch:
        _write(as_trained(args.prompt), DIM)
    (rollout,), _ = sample(policy.to(device), [prompt], decoding, [args.seed], batch=1, watch=watch)
    text = tokenizer.decode(live_tokens(prompt, rollout.actions, policy.bkspc))
    if watch:
        _write(f"\n{text}\n" if rollout.finished else f"\n{text}\n(cut off before <eos>)\n")
        return
    record = {
        "prompt": as_trained(args.prompt),
        "actions": [tokenizer.render([action]) for action in rollout.actions],
        "action_ids": rollout.actions,
        "text": text,
        "finished": rollout.finished,
        # A model without <bkspc> has no probability for it.
        "log_policy": [number if math.isfinite(number) else None for number in rollout.log_policy],
    }
    print(json.dumps(record, ensure_ascii=False))


def load_checkpoint(folder: Path):
    """The policy and the tokenizer of a trained model folder."""
    from sequencematch.data.tokenizer import load_tokenizer
    from sequencematch.model.build import load_policy

    policy, _ = load_policy(folder)
    tokenizer = load_tokenizer(folder)
    tokenizer.check_belongs(policy.bkspc, folder, folder)
    return policy, tokenizer


def _any_model(source: Path):
    """A causal model of transformers, by path or hub name, as a policy without ``<bkspc>``; and its tokenizer."""
    from transformers import AutoConfig

    from sequencematch.data.tokenizer import learned_deletions, pretrained_tokenizer
    from sequencematch.model.build import new_policy
    from sequencematch.settings.model import Model

    tokenizer = pretrained_tokenizer(str(source))
    special_ids: dict[str, int] = tokenizer.special_ids  # type: ignore[assignment]
    config = AutoConfig.from_pretrained(source)
    model = Model(source=str(source), deletions=learned_deletions(config, config.vocab_size) or 1)
    policy = new_policy(model, tokenizer.size, special_ids, backspace=False, seed=0)
    return policy.eval(), tokenizer


def _show(tokenizer, item: int, action: int) -> None:
    """An action as it is taken. On a terminal it has a colour, and each deletion is a mark."""
    if sys.stdout.isatty() and action >= tokenizer.bkspc:
        _write(MARK * (action - tokenizer.bkspc + 1), RED)
    else:
        _write(tokenizer.render([action]), DIM if action in tokenizer.special_ids.values() else "")


def _write(text: str, colour: str = "") -> None:
    """Print at once; in a colour on a terminal alone."""
    print(f"{colour}{text}{PLAIN}" if colour and sys.stdout.isatty() else text, end="", flush=True)


def _device(name: str):
    import torch

    try:
        device = torch.device(name)
        torch.ones(1, device=device).sum().item()  # a device that computes: "meta" does not
    except Exception as error:  # each back end has errors of its own
        raise UserError(f"there is no device '{name}' here ({reason(error)}): use --device cpu") from error
    return device


def _add_trace(commands) -> None:
    command = commands.add_parser(
        "trace",
        help="actions, states, mask and position ids of a sequence, as state tree and as Algorithm 2",
        description="Example: sequencematch trace '<bos> 2 + 2 =' '5 <bkspc> 4 <eos>'",
        allow_abbrev=False,
    )
    command.add_argument(
        "prompt", type=_text, metavar="PROMPT", help="words are tokens; text, with --tokenizer (<bos> is added)"
    )
    command.add_argument("actions", type=_text, metavar="ACTIONS", help="the same, with <bkspc> among them")
    command.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="a model folder whose tokenizer is used")
    command.add_argument("--json", action="store_true", help="print it as JSON")
    command.set_defaults(run=_trace)


def _trace(args: argparse.Namespace) -> None:
    from sequencematch import trace

    traced = trace.trace(*trace.tokens(args.prompt, args.actions, args.tokenizer))
    print(json.dumps(traced, ensure_ascii=False) if args.json else trace.render(traced))


def _add_export(commands) -> None:
    command = commands.add_parser("export", help="write a folder that transformers loads", allow_abbrev=False)
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="trained model folder")
    command.add_argument("output", type=Path, metavar="OUTPUT", help="folder to write")
    command.add_argument("--form", choices=("merged", "adapter"), default="merged", help="the whole network, or peft's")
    command.add_argument("--metrics", type=Path, metavar="FILE", help="the model's metrics.json, for its card")
    command.add_argument("--trust-remote-code", action="store_true", help=TRUST)
    command.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> None:
    if args.trust_remote_code:
        trust_code()
    from sequencematch.export.folder import export_model

    export_model(args.checkpoint, args.output, args.form, args.metrics)
    print(f"wrote {args.output}")


def _temperature(text: str) -> float:
    """0, or a temperature by which logits can be divided."""
    return 0.0 if float(text) == 0 else script.plain(float, 0.001, 1000)(text)


def _text(text: str) -> str:
    """Text that was valid UTF-8 on the command line."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"is not valid UTF-8: {text[:40]!a}") from None
    return text


if __name__ == "__main__":
    main()
