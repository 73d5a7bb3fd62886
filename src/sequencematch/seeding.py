"""Random streams, named by their purpose.

Every draw comes from a generator seeded by a stable hash of its name, for instance ``generator(seed, "noise", epoch,
item)``. Nothing depends on the order in which streams are used. So a resumed run needs no replay, and the results of a
batch's rows do not depend on each other.
"""

import hashlib
from collections.abc import Sequence

import numpy as np


def stable_seed(*name: int | float | str) -> int:
    """A 63-bit seed from a stream's name; the same on every machine and in every process."""
    digest = hashlib.blake2b(repr(name).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*name: int | float | str) -> np.random.Generator:
    """A NumPy generator for the named stream."""
    return np.random.Generator(np.random.Philox(stable_seed(*name)))


def uniforms(streams: Sequence[int], n: int) -> np.ndarray:
    """The first n numbers in [0, 1) of each stream, float32 [streams, n], multiples of 2 ** -24.

    They are the output of SHAKE-128 on the stream's number. A row depends on its own stream alone. It costs an
    eighth of seeding a NumPy generator, which a rollout of a few tokens would notice.
    """
    numbers = b"".join([hashlib.shake_128(b"%d" % stream).digest(4 * n) for stream in streams])
    return (np.frombuffer(numbers, "<u4") >> 8).astype(np.float32).reshape(len(streams), n) * np.float32(2**-24)
