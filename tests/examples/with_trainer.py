"""SequenceMatch inside ``transformers.Trainer``: the collator makes state trees, the loss is the core's."""

from collections.abc import Sequence

import torch
from transformers import Trainer, TrainingArguments

import sequencematch as sm


class SequenceMatchTrainer(Trainer):
    """``model``: an ``sm.Policy``; ``train_dataset``: a sequence of ``sm.Trajectory``, mistakes and repairs included.

    Rollouts are drawn anew at every step, from the prompts of the batch; ``beta`` is the share of behavioural cloning.
    """

    def __init__(self, *args, objective: sm.Objective, decoding: sm.Decoding, beta: float = 0.2, **kwargs):
        super().__init__(*args, data_collator=list, **kwargs)  # a batch is a list of sm.Trajectory
        self.objective, self.decoding, self.beta = objective, decoding, beta
        # Constants of the run: divided by those of its batch, short sequences would count more.
        data = list(self.train_dataset)
        self.length = sum(len(t.actions) for t in data) / len(data)
        self.cloned = sum(sum(t.imitated) for t in data) / len(data)

    def compute_loss(self, model, inputs: Sequence[sm.Trajectory], return_outputs=False, num_items_in_batch=None):
        policy, data = self.accelerator.unwrap_model(model), list(inputs)
        streams = torch.randint(2**62, (len(data),)).tolist()
        rollouts, _ = sm.sample(policy, [d.prompt for d in data], self.decoding, streams, batch=len(data))
        rolled = [
            sm.Trajectory(prompt=d.prompt, actions=r.actions, imitated=[True] * len(r.actions), ended=r.finished)
            for d, r in zip(data, rollouts, strict=True)
        ]
        tree, batches = sm.state_tree(list(zip(data, rolled, strict=True)), policy.bkspc)
        logits = model(tree.to(policy.device))
        data_scores, model_scores = (sm.score(logits, batch.to(policy.device)) for batch in batches)
        normaliser = sm.Normaliser(
            trajectories=len(data),
            length=self.length,
            cloned=self.cloned,
            model_transitions=sum(len(t.actions) for t in rolled),
        )
        matching = sm.sequence_match(data_scores, model_scores, self.objective, normaliser)
        cloning = sm.behavioural_cloning(data_scores) / normaliser.cloning
        loss = self.beta * cloning + (1 - self.beta) * matching
        return (loss, {"logits": logits}) if return_outputs else loss


def train(lm, data: Sequence[sm.Trajectory], folder: str, steps: int, max_actions: int) -> SequenceMatchTrainer:
    """Train ``lm`` on noised examples; the trained policy is the returned trainer's ``model``."""
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=16,
        learning_rate=1e-2,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = SequenceMatchTrainer(
        model=sm.Policy(lm, backspace=True),
        args=arguments,
        train_dataset=data,
        objective=sm.Objective(alpha=0.03, gamma=0.95),
        decoding=sm.Decoding(max_actions),
    )
    trainer.train()
    return trainer
