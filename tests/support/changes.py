"""Another value of every setting, and who reads it at the smoke scale: written by hand, as a second opinion."""

# Section (of a task's data: its family), other values of its settings, and how many jobs of each rule read each.
# Fine-tuned are mle, uls, bc, sm and sm_js; of translation bc; of text sm, and mle as its judge.
ALL_TRAINING = {"pretrain_base": 3, "pretrain_bc": 3, "finetune": 8}
OF_BATCHES = {"pretrain_base": 2, "pretrain_bc": 2, "finetune": 7}  # translation has its own
ROWS, BASE, ALL_COSTS = {"make_dataset": 1}, {"pretrain_base": 3}, {"measure_overheads": 8}
COSTS_OF_ONE = {"measure_overheads": 2}  # table4; table3 has its own value
SETTINGS = [
    ("arithmetic", "generator: list_prime_factors, entropy: [1.0, 2.5]", ROWS),
    ("arithmetic", "train: 201, validation: 21, test: 21, seed: 5", ROWS),
    ("translation", "languages: [fr, en], train: 41, validation: 11, test: 11, seed: 5", ROWS),
    ("translation", "vocabulary: 301", {"train_tokenizer": 1}),
    ("translation", "longest: 47", {"encode_examples": 1}),
    ("text", "train: 9, validation: 3, test: 3, seed: 5", ROWS),
    ("text", "vocabulary: 301", {"train_tokenizer": 1}),
    ("text", "prompt: 7, continuation: 15", {"encode_examples": 1}),
    ("pairs", "train: [config.yaml, Snakefile], validation: [config.yaml, Snakefile]", ROWS),
    ("pairs", "test: [config.yaml, Snakefile], separator: ' = ', licence: another, digest: abc", ROWS),
    ("pairs", "client: npm, version: '2', sha256: abc, inside: [a], bos: b", {}),  # of packages alone
    ("passages", "configuration: plain, revision: abc", ROWS),
    ("noise", "kind: random", {"inject_noise": 1, "sample": 5}),  # translation and text have their own
    ("noise", "run: 2.0, rest: model, draws: 2", {"inject_noise": 3}),
    ("model", "revision: abc, trust_remote_code: true", BASE | ALL_COSTS),
    ("model", "layers: 2, width: 32, heads: 4, initial_spread: 0.05, rope_theta: 99", BASE | COSTS_OF_ONE),
    ("model", "context: 129", {"encode_examples": 2, "pretrain_base": 2} | COSTS_OF_ONE),  # text has its own
    ("model", "precision: bfloat16, quantise: nf4, lora_rank: 2, lora_alpha: 8", BASE | ALL_COSTS),
    ("model", "gradient_checkpointing: true", BASE | ALL_COSTS),
    ("model", "deletions: 2", BASE | ALL_COSTS | {"inject_noise": 3}),
    ("optimiser", "batch: 128, micro_batch: 16", OF_BATCHES),
    ("optimiser", "learning_rate: 0.1, weight_decay: 0.2, clip: 2, warmup: 3, dropout: 0.1", ALL_TRAINING),
    ("schedule", "base_steps: 5", BASE),
    ("schedule", "pretrain_steps: 5", {"pretrain_bc": 3, "finetune": 5}),  # not mle and uls
    ("schedule", "steps: 9, decay_start: 5", {"pretrain_bc": 3, "finetune": 8}),
    ("schedule", "beta_final: 0.1, beta_steps: 3", {"finetune": 3}),
    ("schedule", "bkspc_start: mean", {"pretrain_bc": 3, "finetune": 5}),
    ("schedule", "metrics_every: 3, validate_every: 3, checkpoint_every: 4", ALL_TRAINING),
    ("objective", "divergence: chi2", {"finetune": 2}),  # sm_js has its own
    ("objective", "alpha: 0.5, weighting: uniform, value_from: both", {"finetune": 3}),
    ("objective", "c: 0.25, beta_mix: 0.25, js_delta: 0.25", {"finetune": 3}),
    ("objective", "gamma: 0.5", {"finetune": 2}),  # translation has its own, and no SequenceMatch
    ("objective", "imitate_noise: true", {"pretrain_bc": 3, "finetune": 5}),
    ("objective", "imitate_prompt: true", {"pretrain_base": 2, "pretrain_bc": 2, "finetune": 6}),
    ("objective", "label_smoothing: 0.1", ALL_TRAINING),
    ("objective", "uls_ngram: 4, uls_weight: 0.5", {"finetune": 1}),
    ("objective", "iq_weight: 0.5", {}),  # no table of the smoke scale has this loss
    ("rollouts", "buffer: 201, seen: 9, share_prompts: true, concurrent: true, staleness: 7", {"finetune": 4}),
    ("rollouts", "temperature: 0.5, top_p: 0.5, top_k: 5", {"finetune": 4}),
    ("rollouts", "generate: 33, max_actions: 17", {"finetune": 3}),
    ("evaluation", "split: validation, batch: 7", {"sample": 7, "judge": 1}),
    ("evaluation", "answers: 3", {"sample": 6}),
    ("evaluation", "max_actions: 25, corruptions: [random]", {"sample": 5}),
    ("evaluation", "decodings: [greedy, perturbed=0.2]", {"sample": 6}),
    ("evaluation", "error_depths: [1], error_decodings: [greedy], error_kind: model", {"sample": 7}),
    ("evaluation", "shown: 3", {"sample": 1}),
]
