"""Which kernels torch and its libraries use on a CPU: those of AVX2 wherever there is AVX2, or this CPU's fastest.

Rounding alone flips verdicts: with the kernels that each CPU likes best, 22 of the 264 verdicts of the default tables
came out differently on another maker's CPU. Three libraries choose kernels by CPU: ATen, MKL and oneDNN. They read
these variables when torch is loaded, so this module imports nothing heavy and is called first.

Measured on an AMD EPYC (AVX-512) against an Intel Xeon (AVX-512, AMX): under ``portable`` all operations of training
that were tried give the same bits but MKL's vector functions exp and log. V(s) does without them (``core.logsumexp``);
torch's logaddexp, of BC and SequenceMatch, calls exp in its backward pass. Whole runs agree in part: models of sums and
of text did, of products and translation did not (docs/troubleshooting.md). 200 SM steps on products take 1.02 to 1.05
times as long as with native kernels.
"""

import os
import platform
from pathlib import Path
from typing import Literal, get_args

Kernels = Literal["portable", "native"]
CHOICES = get_args(Kernels)
PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2,STRICT", "ONEDNN_MAX_CPU_ISA": "AVX2"}


def choose(kernels: Kernels) -> None:
    """Set what ``kernels`` asks for in the environment, for a torch that is not loaded yet.

    ``portable`` leaves alone what the user has set, and CPUs that do not have AVX2 (ATen would not check it, and the
    process would end at the first instruction that the CPU lacks). ``native`` takes back what ``portable`` set.
    """
    if kernels == "portable" and _has_avx2():
        for name, value in PORTABLE.items():
            os.environ.setdefault(name, value)
    elif kernels == "native":
        for name, value in PORTABLE.items():
            if os.environ.get(name) == value:
                del os.environ[name]


def in_force() -> Kernels:
    """What the environment says, for provenance."""
    portable = all(os.environ.get(name) == value for name, value in PORTABLE.items())
    return "portable" if portable else "native"


def _has_avx2() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "avx2" in Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
