"""Who draws the rollouts that training asks for: the training process, or a second process that works at the same time.

Appendix F names concurrent generation as a remedy for the cost of sampling. The second process holds a copy of the
policy. Training sends it a request (the present weights, prompts and streams) and continues with gradient steps. It
collects the rollouts at a step that the settings fix, so results do not depend on which process was faster. The two
processes share only a pipe. Weights and rollouts go through it, so no file and no shared memory is left behind.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from safetensors.torch import load, save

from sequencematch.errors import UserError
from sequencematch.model.policy import Policy, trained_tensors
from sequencematch.sampling.decoding import Decoding
from sequencematch.sampling.rollout import Rollout, sample


@dataclass(frozen=True)
class Request:
    """What one generation step asks for: the arguments of ``sample`` other than the policy."""

    prompts: list[Sequence[int]]
    decoding: Decoding
    streams: list[int]
    batch: int

    def sampled(self, policy: Policy) -> list[Rollout]:
        """The rollouts of the request, drawn from ``policy``."""
        return sample(policy, self.prompts, self.decoding, self.streams, self.batch)[0]


class InProcess:
    """Rollouts drawn by the training process, while it waits."""

    def __init__(self, policy: Policy):
        self.policy = policy

    def ask(self, request: Request) -> None:
        """Keep the request until ``answer``."""
        self.request = request

    def answer(self) -> list[Rollout]:
        """Draw the rollouts now."""
        return self.request.sampled(self.policy)

    def close(self) -> None:
        """Nothing runs in the background."""


class Background:
    """Rollouts drawn by a second process, with the weights that ``policy`` had when they were asked for.

    build: makes the second process's own copy of the policy; it must be picklable. The process works on the next GPU if
    there is one more, otherwise on the policy's device, with as many threads as this process. It ends when this process
    ends, for whatever reason.
    """

    def __init__(self, policy: Policy, build: Callable[[], Policy]):
        self.policy = policy
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        device = policy.device
        if device.type == "cuda" and torch.cuda.device_count() > 1:
            device = torch.device("cuda", ((device.index or 0) + 1) % torch.cuda.device_count())
        arguments = (theirs, build, device, torch.get_num_threads())
        self.process = context.Process(target=_serve, args=arguments, name="rollouts", daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, request: Request) -> None:
        """Send the request, and a copy of the trained weights, to the other process."""
        weights = save(trained_tensors(self.policy))
        with contextlib.suppress(OSError):  # the process has ended; ``answer`` reads its last message
            self.connection.send(request)
            self.connection.send_bytes(weights)

    def answer(self) -> list[Rollout]:
        """The rollouts. Raises UserError if the process has ended, with its own message if it sent one."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise UserError(
                f"the process that draws rollouts has ended (exit status {self.process.exitcode}; -9 may be a lack of "
                "memory): run again to continue from the last checkpoint, or set rollouts.concurrent to false"
            ) from None
        if isinstance(answer, UserError):
            raise answer
        return answer

    def close(self) -> None:
        """End the process at once; its unfinished work is lost."""
        self.process.kill()
        self.process.join()
        self.connection.close()


Producer = InProcess | Background  # draws the rollouts of one request at a time: ``ask`` starts, ``answer`` waits


def _serve(connection: Connection, build: Callable[[], Policy], device: torch.device, threads: int) -> None:
    """The second process: answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes, and training ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # 4-bit weights are made where the process works
    try:
        policy = build().to(device)
        while True:
            request = connection.recv()
            policy.load_state_dict(load(connection.recv_bytes()), strict=False)
            connection.send(request.sampled(policy))
    except EOFError:
        return
    except UserError as error:
        connection.send(error)


def _end_with_parent() -> None:
    """End this process when its parent ends, whatever it is computing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
