"""Which kernels torch and its libraries use on a CPU: those of AVX2, those that round alike on all, or the fastest.

Rounding alone flips verdicts: with the kernels that each CPU likes best, 22 of the 264 verdicts of the default tables
came out differently on another maker's CPU. Three libraries choose kernels by CPU: ATen, MKL and oneDNN. They read
these variables when torch is loaded, so this module imports nothing heavy and is called first.

Measured on AMD EPYCs (AVX-512) against an Intel Xeon (AVX-512, AMX), by the digest of training (``training.bits``):

- ``portable`` rounds alike on the CPUs of one maker. Not on both: an AMD's MKL takes the same kernels under every value
  of MKL_CBWR but COMPATIBLE. Its products, exp and log then differ in some shapes. A step of SM takes 1.02 to 1.08
  times native's; without its rollouts' sampling 1.3 times on an Intel Xeon with AVX-512.
- ``compatible`` rounds alike on both. A gradient step takes 1.5 to 1.9 times portable's, sampling as long.
"""

import os
import platform
from pathlib import Path
from typing import Literal, get_args

Kernels = Literal["portable", "compatible", "native"]
CHOICES = get_args(Kernels)
PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2,STRICT", "ONEDNN_MAX_CPU_ISA": "AVX2"}
VARIABLES: dict[Kernels, dict[str, str]] = {
    "portable": PORTABLE,
    "compatible": PORTABLE | {"MKL_CBWR": "COMPATIBLE"},
    "native": {},
}


def choose(kernels: Kernels) -> None:
    """Set what ``kernels`` asks for in the environment, for a torch that is not loaded yet.

    Other choices take back what ``portable``, the default, set. What the user has set counts. CPUs that do not have
    AVX2 are left alone: ATen would not check it, and the process would end at the first instruction that they lack.
    """
    if kernels != "portable":
        for name, value in PORTABLE.items():
            if os.environ.get(name) == value:
                del os.environ[name]
    if _has_avx2():
        for name, value in VARIABLES[kernels].items():
            os.environ.setdefault(name, value)


def in_force() -> Kernels:
    """What the environment says, for provenance."""
    found = {name: os.environ.get(name) for name in PORTABLE}
    return next((choice for choice, values in VARIABLES.items() if values == found), "native")


def _has_avx2() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "avx2" in Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
