"""Rows of prompts and completions, and a small network with a tokenizer of transformers to train on them."""

from transformers import PreTrainedTokenizerFast

from sequencematch import SequenceMatchConfig, SequenceMatchTrainer
from sequencematch.data.tokenizer import train_tokenizer
from support.networks import tiny_llama

QUIET = {"report_to": "none", "disable_tqdm": True, "logging_steps": 1, "use_cpu": True}
SUMS = [(f"{a} + {b} = ", str(a + b)) for a in range(10) for b in range(10)]
ROWS = [{"prompt": p, "completion": c} for p, c in SUMS]


def a_model_and_its_tokenizer(folder, *texts, **settings):
    """A tiny Llama over the characters of the texts (default: of sums), and a tokenizer of transformers."""
    ours = train_tokenizer(texts or [text for pair in SUMS for text in pair])
    folder.mkdir(exist_ok=True, parents=True)
    ours.save(folder)
    ids = {f"{name}_token_id": value for name, value in ours.special_ids.items()}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "initializer_range": 0.02} | settings
    return tiny_llama(ours.size, **sizes, **ids), PreTrainedTokenizerFast.from_pretrained(folder)


def arguments(folder, **options):
    options = {"max_steps": 12, "bc_steps": 6, "rollouts_generated": 32, "max_actions": 8, **QUIET, **options}
    return SequenceMatchConfig(str(folder), per_device_train_batch_size=16, learning_rate=1e-2, **options)


def a_trainer(folder, rows=None, evaluated=None, model=None, **options):
    """A trainer of sums, or of other rows, on ``model``: a network and its tokenizer."""
    lm, tokenizer = model or a_model_and_its_tokenizer(folder / "model")
    rows = ROWS if rows is None else rows
    return SequenceMatchTrainer(lm, arguments(folder / "o", **options), rows, evaluated, processing_class=tokenizer)
