"""SequenceMatch: language models trained by imitation learning, with a backspace action."""

__version__ = "0.1.0"
