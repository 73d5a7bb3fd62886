"""SequenceMatch as a trainer of transformers, with the conventions of TRL's trainers (``docs/trainer.md``)."""
