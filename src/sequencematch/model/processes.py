"""Several processes that train one model: each works on its share of the rows, and all hold the same sums.

``accelerate launch`` starts them, one per GPU (or several on a CPU). Each makes the whole effective batch from (seed,
step) and takes its share. What it sums is divided by the normaliser of the whole batch, so the processes hold parts of
one sum, not means to be averaged. A single process takes all rows.
"""

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed
from accelerate import PartialState
from torch import Tensor

from sequencematch.errors import UserError
from sequencematch.script import PROCESS_VARIABLES, processes

Item = TypeVar("Item")


class Processes:
    """This process (``rank``, from 0) among the ``count`` that train together, and the device it works on."""

    def __init__(self):
        launched = processes()[1] > 1
        state = PartialState(cpu=launched and not torch.cuda.is_available())
        self.rank, self.count, self.device = state.process_index, state.num_processes, state.device

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the process that writes files and prints messages."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part: every ``count``-th item, so that long and short items are spread evenly."""
        return items[self.rank :: self.count]

    def united(self, share: list[Item]) -> list[Item]:
        """All items, in the order before every process took its ``share``."""
        if self.count == 1:
            return share
        shares: list[list[Item]] = [[] for _ in range(self.count)]
        torch.distributed.all_gather_object(shares, share)
        items: list = [None] * sum(map(len, shares))
        for rank, part in enumerate(shares):
            items[rank :: self.count] = part
        return items

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes: the same bits on each of them."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def added(self, numbers: dict[str, float]) -> dict[str, float]:
        """The sums of named numbers over all processes, which must have the same names."""
        if self.count == 1:
            return numbers
        total = torch.tensor(list(numbers.values()), dtype=torch.float64, device=self.device)
        self.add([total])
        return dict(zip(numbers, total.tolist(), strict=True))

    def leave(self) -> None:
        """Wait for the other processes, then leave the group."""
        if self.count > 1:
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()


def join(gpus: int) -> Processes:
    """This process, its device set before 4-bit weights are made there. Raises UserError as ``prepare_devices``."""
    prepare_devices(gpus)
    return Processes()


def lone_device(gpus: int) -> torch.device:
    """The device of a script that trains nothing: what a launcher left in the environment does not concern it."""
    prepare_devices(gpus)
    for name in PROCESS_VARIABLES:
        os.environ.pop(name, None)
    return PartialState().device


def prepare_devices(gpus: int) -> None:
    """Let the CPU set denormal numbers (below 1e-38) to 0, and look whether the GPUs are there that a job was promised.

    The discounts gamma^i of a long rollout give denormal gradients, which Intel CPUs compute slowly: at 2,048 tokens an
    SM step took 8 times as long. Threads of torch take the mode from the thread that starts them, so this comes first.
    Raises UserError if fewer than ``gpus`` GPUs are visible.
    """
    torch.set_flush_denormal(True)
    found = torch.cuda.device_count() if gpus else 0
    if found < gpus:
        raise UserError(
            f"this job was promised {gpus} GPU(s) and sees {found}: check nvidia-smi, CUDA_VISIBLE_DEVICES and that "
            "torch is a CUDA build, or lower jobs.train.gpu and jobs.sample.gpu"
        )
