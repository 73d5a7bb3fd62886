"""Random streams named by what they are for.

Every draw comes from a generator seeded by a stable hash of its name, for instance
``generator(seed, "noise", epoch, item)``. Nothing depends on the order in which streams are used, so
a resumed run needs no replay, and a batch's results do not depend on what else was in the batch.
"""

import hashlib

import numpy as np


def stable_seed(*name: int | float | str) -> int:
    """A 63-bit seed from a stream's name; the same on every machine and in every process."""
    digest = hashlib.blake2b(repr(name).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*name: int | float | str) -> np.random.Generator:
    """A NumPy generator for the named stream."""
    return np.random.Generator(np.random.Philox(stable_seed(*name)))
