"""Watch a trained model delete: run as a script, or cell by cell in an editor that knows ``# %%``.

Exports the model in examples/model, shows deletions as they are typed, and draws the state tree and the attention mask
of one sequence. Figures go to results/watch/.
"""

# %% A trained model as a folder that needs transformers alone
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from sequencematch import export_model
from sequencematch.results.run_figures import plot_masks
from sequencematch.results.theme import BLUE, GREY, INK, ORANGE, drawing, key, legend
from sequencematch.trace import trace

QUESTION = "What is 15 times -3? Solution:"
OUTPUT = Path("results/watch")
OUTPUT.mkdir(parents=True, exist_ok=True)
folder = str(OUTPUT / "exported")
export_model(Path(__file__).parent / "model", Path(folder))
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
backspacing = {"custom_generate": folder, "trust_remote_code": True}

# %% Deletions as they are typed: a mark stands for each
Streamer = get_class_from_dynamic_module("custom_generate/generate.BackspaceStreamer", folder)
prompt = tokenizer(QUESTION, return_tensors="pt")
for seed in range(8):
    torch.manual_seed(seed)
    print(QUESTION, end=" ")
    model.generate(**prompt, **backspacing, streamer=Streamer(tokenizer))

# %% The same as actions: the first of several samples that has a deletion
many = tokenizer([QUESTION] * 64, return_tensors="pt")
torch.manual_seed(0)
sampled = model.generate(**many, **backspacing, return_dict_in_generate=True)
bkspc = tokenizer.convert_tokens_to_ids("<bkspc>")
row = next(actions for actions in sampled.actions.tolist() if bkspc in actions and len(set(actions)) > 4)
actions = tokenizer.convert_ids_to_tokens([action for action in row if action >= 0])
traced = trace(["<bos>", "15", "times", "-3"], actions)  # a short prompt, so that the drawing is small
for action, state in zip(["", *actions], traced["states"], strict=True):
    print(f"{action:8} -> {' '.join(state)}")

# %% Its attention mask: as a state tree, and as Algorithm 2 of the paper has it
plot_masks(traced, OUTPUT / "masks.png")

# %% Its state tree: a node per token that was written; each action starts from the node of its state
tree = traced["state_tree"]
depths, parents, lines = tree["position"], [-1], [0]  # of each node, the root <bos> first
for node in range(1, len(depths)):
    parents.append(max(other for other in range(node) if depths[other] == depths[node] - 1))
    branches = parents[node] in parents[:-1]  # its parent has a child: what followed it there was deleted
    lines.append(max(lines) + 1 if branches else lines[parents[node]])
live = len(depths) - 1
kept = {live}
while live:
    kept.add(live := parents[live])
with drawing(OUTPUT / "state_tree.png", 1, 1, 6.5, 1.2 + 0.4 * max(lines)) as (figure, (panel,)):
    for node in range(1, len(depths)):
        ends = [parents[node], node]
        panel.plot([depths[end] for end in ends], [lines[end] for end in ends], color=GREY, linewidth=1, zorder=1)
    for node, token in enumerate(tree["token"]):
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": BLUE if node in kept else ORANGE}
        panel.text(depths[node], lines[node], token, ha="center", va="center", color=INK, bbox=box, parse_math=False)
    panel.set(xlim=(-0.6, max(depths) + 0.6), ylim=(max(lines) + 0.6, -0.6), yticks=[], xlabel="position")
    panel.grid(visible=False)
    legend(figure, [key("stays", BLUE, marker="s"), key("deleted", ORANGE, marker="s")])
print(f"wrote {OUTPUT}/masks.png and {OUTPUT}/state_tree.png")
