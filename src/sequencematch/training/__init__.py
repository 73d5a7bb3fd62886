"""Batches, losses, the replay buffer, the training loop and its checkpoints."""
