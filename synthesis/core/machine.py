"""What computes here: the processor, the instructions that its libraries use, and the version of torch.

Floating-point sums come out otherwise where a library chooses other kernels, and it chooses by these.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

# Instruction sets that torch does not name in its capability, and by which oneDNN chooses its kernels.
UNITS = ("avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx10_1", "avx10_2", "amx_bf16", "amx_int8",
         "amx_fp16")
BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16")
# Variables by which a user holds the libraries to a smaller set.
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
WITHOUT_BFLOAT16 = {
    "ATEN_CPU_CAPABILITY": ("default", "avx2"),
    **dict.fromkeys(("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
                    ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")),
}


@dataclass(frozen=True)
class Machine:
    """What decides, beside settings, how numbers round.

    Attributes:
        processor: Name of the processor or the GPU; "" where a record does not say.
        instructions: The sets that are used, or compute capability and driver libraries; "" as above.
    """

    processor: str
    instructions: str
    torch: str

    def differences(self, other: Machine) -> list[str]:
        """In what another machine differs, as "processor: this -> other"; what one of them does not say is left out."""
        mine, its = vars(self), vars(other)
        return [f"{key}: {mine[key]} -> {its[key]}" for key in mine if mine[key] and its[key] and mine[key] != its[key]]


def this_machine(device: str) -> Machine:
    """The machine of this process."""
    import torch

    version = str(torch.__version__)
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        libraries = f"CUDA {torch.version.cuda or torch.version.hip}, cuDNN {torch.backends.cudnn.version()}"
        return Machine(torch.cuda.get_device_name(device), f"sm_{major}{minor}, {libraries}", version)
    known = _capabilities()
    name = str(known.get("cpu_name") or platform.processor() or platform.machine())
    if not device.startswith("cpu"):
        return Machine(name, device, version)
    found = [torch.backends.cpu.get_cpu_capability(), *(unit for unit in UNITS if known.get(unit))]
    found += [f"{name}={os.environ[name]}" for name in LIMITS if os.environ.get(name)]
    return Machine(name, ", ".join(found), version)


def computes_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16, and its libraries may: without such units it is emulated.

    On a processor without them a network takes up to 60 times as long in bfloat16 as in float32.
    """
    for name, values in WITHOUT_BFLOAT16.items():
        if os.environ.get(name, "").lower() in map(str.lower, values):
            return False
    return any(_capabilities().get(unit) for unit in BFLOAT16_UNITS)


@cache
def _capabilities() -> Mapping[str, Any]:
    import torch

    return dict(torch.cpu.get_capabilities())
