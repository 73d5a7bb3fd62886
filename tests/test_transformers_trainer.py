"""``SequenceMatchTrainer``: the losses of the pipeline's own loop, TRL's formats of data, and a folder that loads."""

import csv
import re

import pytest
import torch
from support.experiment import ROLLOUTS, TINY, finetune_options, make_inputs, run
from support.networks import tiny_llama
from support.workflow import ROOT
from torch.optim.lr_scheduler import LambdaLR

from sequencematch import SequenceMatchConfig, SequenceMatchTrainer, UserError
from sequencematch.data.tokenizer import load_tokenizer, train_tokenizer
from sequencematch.model.build import load_policy
from sequencematch.settings.training import Optimiser
from sequencematch.training.batches import load_corpora
from sequencematch.training.bkspc_start import start_bkspc
from sequencematch.training.trainer import Stage, new_optimiser

QUIET = {"report_to": "none", "disable_tqdm": True, "logging_steps": 1, "use_cpu": True}
SUMS = [(f"{a} + {b} = ", str(a + b)) for a in range(10) for b in range(10)]
FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    """A tiny experiment whose SequenceMatch model the pipeline has trained, in ``sm``."""
    root = tmp_path_factory.mktemp("finetuned")
    make_inputs(root)
    run("finetune", **finetune_options(root, root / "sm"))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("micro", [8, 4])
def test_losses_are_those_of_the_pipeline(finetuned, micro, tmp_path):
    with (finetuned / "sm/metrics.csv").open() as file:
        expected = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
    tokenizer = load_tokenizer(finetuned / "tokenizer")
    corpora = load_corpora(finetuned / "noised-0.2", tokenizer.special_ids["eos"])
    policy, _ = load_policy(finetuned / "base", backspace=True)
    start_bkspc(policy, "mean", *corpora)
    settings = Optimiser(batch=8, micro_batch=8, warmup=TINY["warmup"])
    optimiser = new_optimiser(policy, settings)
    # The two stages of the pipeline have the learning rates of one schedule.
    stage = Stage("sm", 0, TINY["steps"], TINY["decay_start"], TINY["steps"])
    rates = LambdaLR(optimiser, lambda step: stage.learning_rate(step, settings) / settings.learning_rate)
    arguments = SequenceMatchConfig(
        str(tmp_path / "output"),
        max_steps=TINY["steps"],
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=8 // micro,
        seed=1,
        bc_steps=TINY["pretrain_steps"],
        beta_steps=150,
        rollout_buffer=ROLLOUTS["buffer"],
        rollouts_generated=ROLLOUTS["generate"],
        rollouts_seen=ROLLOUTS["seen"],
        max_actions=ROLLOUTS["max_actions"],
        **QUIET,
    )
    trainer = SequenceMatchTrainer(policy, arguments, corpora[0], optimizers=(optimiser, rates))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == TINY["steps"]
    step = TINY["pretrain_steps"]
    for end, loss in sorted(expected.items()):
        assert sum(losses[step:end]) / (end - step) == pytest.approx(loss, abs=1e-5), end
        step = end


def a_model_and_its_tokenizer(folder, *texts):
    """A tiny Llama over the characters of the texts (default: of sums), and a tokenizer of transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    ours = train_tokenizer(texts or [text for pair in SUMS for text in pair])
    folder.mkdir(exist_ok=True)
    ours.save(folder)
    ids = {f"{name}_token_id": value for name, value in ours.special_ids.items()}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    lm = LlamaForCausalLM(LlamaConfig(vocab_size=ours.size, max_position_embeddings=64, **sizes, **ids))
    return lm, PreTrainedTokenizerFast.from_pretrained(folder)


def arguments(folder, **options):
    options = {"max_steps": 12, "bc_steps": 6, "rollouts_generated": 32, "max_actions": 8, **QUIET, **options}
    return SequenceMatchConfig(str(folder), per_device_train_batch_size=16, learning_rate=1e-2, **options)


@pytest.mark.slow
def test_texts_in_the_format_of_trl_train_and_the_folder_loads(tmp_path):
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    data = datasets.Dataset.from_list([{"prompt": p, "completion": c} for p, c in SUMS])
    trainer = SequenceMatchTrainer(lm, arguments(tmp_path / "o", max_steps=60), data, data, processing_class=tokenizer)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.7 * before
    logged = [entry for entry in trainer.state.log_history if "sm_loss" in entry]
    assert len(logged) == 54 and all({"loss", "bc_loss", "pop_rate"} <= entry.keys() for entry in logged)
    trainer.save_model(tmp_path / "exported")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    prompt = AutoTokenizer.from_pretrained(tmp_path / "exported")("3 + 4 = ", return_tensors="pt").input_ids
    written = loaded.generate(
        prompt, custom_generate=str(tmp_path / "exported"), trust_remote_code=True, max_new_tokens=8
    )
    assert len(written[0]) > len(prompt[0])


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path / "model", "0123456789*= ")
    lm.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    changes = {"HuggingFaceTB/SmolLM2-135M": str(tmp_path / "model"), "max_steps=300": "max_steps=8"}
    changes |= {"bc_steps=100": "bc_steps=4", 'report_to="tensorboard"': 'report_to="none", use_cpu=True'}
    first, second = FENCE.findall((ROOT / "docs/trainer.md").read_text())
    for old, new in changes.items():
        assert old in first
        first = first.replace(old, new)
    names: dict = {}
    exec(first, names)
    assert names["trainer"].state.global_step == 8
    exec(second, names)


@pytest.mark.slow
def test_trackers_by_name_and_callbacks(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from transformers import TrainerCallback

    monkeypatch.chdir(tmp_path)  # where some versions of transformers write events
    steps = []

    class Counting(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            steps.append(state.global_step)

    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    rows = [{"prompt": p, "completion": c} for p, c in SUMS]
    logged = arguments(tmp_path / "o", report_to="tensorboard")
    trainer = SequenceMatchTrainer(lm, logged, rows, processing_class=tokenizer, callbacks=[Counting])
    trainer.train()
    assert steps == list(range(1, 13))
    (events,) = tmp_path.glob("**/events.out.tfevents.*")
    found = EventAccumulator(str(events)).Reload()
    assert [event.step for event in found.Scalars("train/sm_loss")] == list(range(7, 13))
    assert {"train/loss", "train/bc_loss", "train/pop_rate"} <= set(found.Tags()["scalars"])


def test_messages_are_encoded_by_the_chat_template(tmp_path):
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    tokenizer.chat_template = "<bos>{% for m in messages %}{{ m['content'] }}{% endfor %}"
    row = {"prompt": [{"role": "user", "content": "3 + 4 = "}], "completion": [{"role": "assistant", "content": "7"}]}
    trainer = SequenceMatchTrainer(lm, arguments(tmp_path / "o", eta=0.0), [row], processing_class=tokenizer)
    (text,) = trainer.train_dataset.corpus.draws[0]
    as_text = [{"prompt": "3 + 4 = ", "completion": "7"}]
    other = SequenceMatchTrainer(lm, arguments(tmp_path / "o", eta=0.0), as_text, processing_class=tokenizer)
    (plain,) = other.train_dataset.corpus.draws[0]
    assert (text.prompt, text.actions) == (plain.prompt, plain.actions)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "holds no rows"),
        ([{"prompt": "3", "completion": [{"role": "assistant", "content": "7"}]}], "row 1 of the dataset: prompt and"),
        ([{"prompt": "3"}], "row 1 of the dataset has no 'completion'"),
        ([{"prompt": "3 + 4 = ", "completion": "7" * 80}], r"row 1 of the dataset takes 8\d tokens"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(tmp_path, rows, sentence):
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    with pytest.raises(UserError, match=sentence):
        SequenceMatchTrainer(lm, arguments(tmp_path), rows, processing_class=tokenizer)


def test_what_it_does_not_do_is_refused(tmp_path):
    with pytest.raises(UserError, match="save_strategy must be 'no'"):
        SequenceMatchTrainer(tiny_llama(), arguments(tmp_path, save_strategy="steps"), [])
    with pytest.raises(UserError, match="gamma is 1.0, but must be a number above 0 and below 1"):
        SequenceMatchTrainer(tiny_llama(), arguments(tmp_path, gamma=1.0), [])
    with pytest.raises(UserError, match="rollout_buffer is 0"):
        SequenceMatchTrainer(tiny_llama(), arguments(tmp_path, rollout_buffer=0), [])
    with pytest.raises(UserError, match="needs processing_class"):
        SequenceMatchTrainer(tiny_llama(), arguments(tmp_path), [{"prompt": "3", "completion": "4"}])
