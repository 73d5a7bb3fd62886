"""``SequenceMatchTrainer``: the losses of the pipeline's own loop, TRL's formats of data, and a folder that loads."""

import re
import shutil

import datasets
import huggingface_hub
import pytest
import torch
from support.experiment import ROLLOUTS, TINY
from support.networks import tiny_llama
from support.rows import QUIET, ROWS, a_model_and_its_tokenizer, a_trainer, arguments
from support.workflow import ROOT
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback

from sequencematch import SequenceMatchConfig, SequenceMatchTrainer, UserError
from sequencematch.data.tokenizer import load_tokenizer
from sequencematch.model.build import load_policy
from sequencematch.model.policy import trained_tensors
from sequencematch.settings.training import Optimiser
from sequencematch.store.files import read_csv
from sequencematch.training.batches import load_corpora
from sequencematch.training.bkspc_start import start_bkspc
from sequencematch.training.schedule import Stage
from sequencematch.training.trainer import new_optimiser

FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.slow
def test_losses_are_those_of_the_pipeline(inputs, finetuned, tmp_path):
    metrics = read_csv(finetuned("sm") / "metrics.csv")
    expected = {int(row["step"]): float(row["loss"]) for row in metrics}
    tokenizer = load_tokenizer(inputs / "tokenizer")
    corpora = load_corpora(inputs / "noised-0.2", tokenizer.special_ids["eos"])
    policy, _ = load_policy(inputs / "base", backspace=True)
    start_bkspc(policy, "mean", *corpora)
    settings = Optimiser(batch=8, micro_batch=8, warmup=TINY["warmup"])
    optimiser = new_optimiser(policy, settings)
    # The two stages of the pipeline have the learning rates of one schedule.
    stage = Stage("sm", 0, TINY["steps"], TINY["decay_start"], TINY["steps"])
    rates = LambdaLR(optimiser, lambda step: stage.learning_rate(step, settings) / settings.learning_rate)
    arguments = SequenceMatchConfig(
        str(tmp_path / "output"),
        max_steps=TINY["steps"],
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
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


@pytest.mark.slow
def test_texts_in_the_format_of_trl_train(tmp_path):
    data = datasets.Dataset.from_list(ROWS)
    trainer = a_trainer(tmp_path, data, data, max_steps=60)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.7 * before
    logged = [entry for entry in trainer.state.log_history if "sm_loss" in entry]
    assert len(logged) == 54 and all({"loss", "bc_loss", "pop_rate"} <= entry.keys() for entry in logged)


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


def test_callbacks_and_so_trackers_see_the_losses(tmp_path):
    class Logged(TrainerCallback):
        rows: list = []

        def on_log(self, args, state, control, logs, **kwargs):
            self.rows.append((state.global_step, logs))

    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    SequenceMatchTrainer(lm, arguments(tmp_path / "o"), ROWS, processing_class=tokenizer, callbacks=[Logged]).train()
    assert [step for step, logs in Logged.rows if "sm_loss" in logs] == list(range(7, 13))
    assert all({"loss", "bc_loss", "pop_rate"} <= logs.keys() for _, logs in Logged.rows if "sm_loss" in logs)


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
    with pytest.raises(UserError, match=sentence):
        a_trainer(tmp_path, rows)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gamma": 1.0}, "gamma is 1.0, but must be a number above 0 and below 1"),
        ({"eta": -0.1}, "eta is -0.1, but must be"),
        ({"eta": 1.0}, "eta is 1.0, but must be"),
        ({"noise_draws": 0}, "noise_draws is 0"),
        ({"deletions": 0}, "deletions is 0"),
        ({"beta_final": 2.0}, "beta_final is 2.0"),
        ({"beta_steps": 0}, "beta_steps is 0"),
        ({"bc_steps": -1}, "bc_steps is -1"),
        ({"bc_steps": 12}, r"bc_steps \(k = 12\) must be below max_steps \(12\)"),
        ({"max_steps": -1, "bc_steps": 50}, r"must be below max_steps \(3\)"),
        ({"rollout_buffer": 0}, "rollout_buffer is 0"),
        ({"rollout_buffer": 8}, "rollout_buffer is 8, but must be at least per_device_train_batch_size"),
        ({"rollouts_generated": 1}, r"rollouts_generated \(1\) times rollouts_seen \(8\)"),
        ({"max_actions": 60}, "max_actions is 60, but must be at most 58"),
        ({"label_smoothing_factor": 0.1}, "cannot heed label_smoothing_factor"),
        ({"neftune_noise_alpha": 5.0}, "cannot heed neftune_noise_alpha"),
        ({"metric_for_best_model": "accuracy"}, "evaluation measures the loss alone"),
        ({"fp16": True}, "cannot heed fp16 .*use bf16"),
    ],
)
def test_values_that_are_not_allowed_are_refused_before_training(tmp_path, options, sentence):
    with pytest.raises(UserError, match=sentence):
        a_trainer(tmp_path, ROWS[:16], **options)


@pytest.mark.parametrize(
    "option", ["compute_metrics", "preprocess_logits_for_metrics", "compute_loss_func", "data_collator", "model_init"]
)
def test_what_would_have_no_effect_is_refused_by_name(tmp_path, option):
    with pytest.raises(UserError, match=f"cannot heed {option} "):
        SequenceMatchTrainer(tiny_llama(), arguments(tmp_path), ROWS, **{option: lambda *_: None})


def test_texts_need_a_tokenizer(tmp_path):
    with pytest.raises(UserError, match="needs processing_class"):
        SequenceMatchTrainer(tiny_llama(), arguments(tmp_path), [{"prompt": "3", "completion": "4"}])


def test_arguments_belong_to_their_caller(tmp_path):
    """The same arguments serve a second trainer, whose steps follow its own data; so does the schedule."""
    lm, tokenizer = a_model_and_its_tokenizer(tmp_path)
    given = arguments(tmp_path / "o", max_steps=-1, bc_steps=None, num_train_epochs=6, gradient_checkpointing=True)
    before = dict(vars(given))
    few, all_rows = (SequenceMatchTrainer(lm, given, rows, processing_class=tokenizer) for rows in (ROWS[:8], ROWS))
    assert vars(given) == before
    assert [(t.args.max_steps, t.stage.start, t.schedule.beta_steps) for t in (few, all_rows)] == [
        (3, 1, 1),
        (38, 12, 12),
    ]


def first_order(trainer):
    return [trainer.train_dataset[k].prompt for k in range(10)]


def test_data_seed_orders_the_data(tmp_path):
    orders = [first_order(a_trainer(tmp_path, data_seed=seed)) for seed in (None, 42, 5)]
    assert orders[0] == orders[1] != orders[2]


def test_bf16_computes_the_network_in_bfloat16_and_the_loss_in_float32(tmp_path):
    losses = []
    for bf16 in (False, True):
        trainer = a_trainer(tmp_path, bf16=bf16)
        with torch.no_grad():
            losses.append(trainer.prediction_step(None, [trainer.train_dataset[k] for k in range(8)], True)[0])
        scores = trainer._scored([(trainer.train_dataset[0],)]).data.scores
        assert scores.logit.dtype == scores.value.dtype == torch.float32
    assert 0 < abs(losses[0] - losses[1]) < 0.05


def test_evaluation_is_a_mean_over_tokens_of_any_rows(tmp_path):
    losses = []
    for size in (1, 3, 64):
        trainer = a_trainer(tmp_path, ROWS, {"a": ROWS[:5], "b": ROWS[-7:]}, per_device_eval_batch_size=size)
        found = trainer.evaluate()
        losses.append([found["eval_a_loss"], found["eval_b_loss"], trainer.evaluate(ROWS[:12])["eval_loss"]])
        losses[-1].append(trainer.predict(row for row in ROWS[:12]).metrics["test_loss"])
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-6)
    assert losses[0][2] == losses[0][3]


def test_a_card_and_a_push(tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr(
        SequenceMatchTrainer, "init_hf_repo", lambda self, **_: setattr(self, "hub_model_id", "me/model")
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", lambda self, **options: pushed.append(options))
    trainer = a_trainer(tmp_path, push_to_hub=True)
    trainer.save_model(tmp_path / "o")
    assert [options["repo_id"] for options in pushed] == ["me/model"]
    assert "library_name: transformers" in (tmp_path / "o/README.md").read_text()
    assert trainer.model is trainer.policy and (tmp_path / "o/model.safetensors").exists()


def test_a_run_resumes_to_the_same_bits(tmp_path):
    def trained(resume):
        trainer = a_trainer(tmp_path, max_steps=8, bc_steps=2, save_steps=5, rollouts_seen=1)
        trainer.train(resume_from_checkpoint=resume)
        return trained_tensors(trainer.policy)

    whole = trained(None)
    shutil.rmtree(tmp_path / "o/checkpoint-8")
    resumed = trained(True)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    changed = [*ROWS[:-1], {"prompt": "9 + 9 = ", "completion": "81"}]  # as many tokens
    for given in ({"rows": ROWS[:50]}, {"rows": changed}, {"data_seed": 5}):
        other = a_trainer(tmp_path, max_steps=8, bc_steps=2, **given)
        with pytest.raises(UserError, match="other data or settings of noise"):
            other.train(resume_from_checkpoint=str(tmp_path / "o/checkpoint-5"))
    model = a_model_and_its_tokenizer(tmp_path / "model", hidden_size=16)
    with pytest.raises(UserError, match="of another model"):
        a_trainer(tmp_path, model=model, max_steps=8, bc_steps=2).train(str(tmp_path / "o/checkpoint-5"))
    with pytest.raises(UserError, match="no checkpoint of SequenceMatchTrainer"):
        other.train(resume_from_checkpoint=str(tmp_path))


def test_the_best_checkpoint_is_loaded_at_the_end(tmp_path):
    best = {"eval_strategy": "steps", "eval_steps": 2, "save_steps": 2, "load_best_model_at_end": True}
    trainer = a_trainer(tmp_path, ROWS, ROWS[:20], max_steps=6, bc_steps=4, lr_scheduler_type="constant", **best)
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(losses) == 3 and trainer.evaluate()["eval_loss"] == pytest.approx(min(losses), rel=1e-6)
