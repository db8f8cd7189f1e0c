"""Counts the machine instructions that an NVIDIA GPU issues for an element, by pipe, and models the share of
the memory bandwidth that a fill can reach. fanin's fills are in fill.cu, torch's in torch.cu. No GPU needed:

    pip install nvidia-cuda-nvrtc nvidia-cuda-nvdisasm nvidia-curand nvidia-cuda-cccl
    python benches/instructions/count.py [sm_80 | sm_89 | sm_90]

NVRTC compiles, and nvdisasm prints the machine code. The other two packages hold cuRAND's header and the
headers that it includes. The counts change a little with the version of NVRTC.

Of fill.cu all instructions of a kernel count, except `NOP` and the branch behind its end: a warp issues each
of them once. Of torch.cu one iteration of the loop counts. It makes four elements, and the code before the
loop runs once for many iterations. Which way an iteration takes depends on numbers: whether cuRAND's counter
carries, which state it is in, and whether an argument needs the slow square root. So there are two rows. Both
ways make all four stores and call no function; one is the shortest such way, and the other the longest. The
usual way (no carry, state 0) lies in between: two instructions an element below the longest with NVRTC 13.5.
"""

import ctypes
import glob
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = sysconfig.get_paths()["purelib"]
NEEDED = "nvidia-cuda-nvrtc nvidia-cuda-nvdisasm nvidia-curand nvidia-cuda-cccl"

# A multiprocessor has four schedulers, and each of them a quarter of its lanes.
SCHEDULERS = 4
WARP = 32

# Results a clock and multiprocessor of compute capability 8.0 to 9.0, from the table of section "Arithmetic
# Instructions" of NVIDIA's CUDA C++ Programming Guide.
ISSUED = 128  # one instruction a clock and scheduler
INTEGER = 64  # add, compare, minimum, shift, logic, and conversion to float by I2FP
MULTIPLY = 64  # 32-bit integer multiply-add
FLOAT = {"sm_80": 64, "sm_89": 128, "sm_90": 128}  # float add, multiply, multiply-add
SPECIAL = 16  # square root, logarithm, sine, leading bit, conversion by I2F
# The table leaves out products of 64 bits (IMAD.WIDE) and their high words (IMAD.HI). Users' profiles of
# NVIDIA GPUs count them at half the rate of IMAD. Philox makes 20 of them a block: a number to measure first.
WIDE = MULTIPLY / 2


class Gpu(NamedTuple):
    """A GPU: its clock in Hz, its bandwidth in bytes a second."""

    name: str
    multiprocessors: int
    clock: float
    bandwidth: float


# From NVIDIA's data sheets. The clocks are those behind the float rates there: 108 x 64 x 2 x 1.41 GHz = 19.5
# TFLOPS, 128 x 128 x 2 x 2.52 GHz = 82.6 TFLOPS, 132 x 128 x 2 x 1.98 GHz = 67 TFLOPS.
GPUS = {
    "sm_80": (Gpu("A100 80 GB SXM", 108, 1.41e9, 2.039e12),),
    "sm_89": (Gpu("RTX 4090", 128, 2.52e9, 1.008e12),),
    "sm_90": (Gpu("H200", 132, 1.98e9, 4.8e12), Gpu("H100 SXM", 132, 1.98e9, 3.35e12)),
}


class Kernel(NamedTuple):
    """A kernel: the elements of an invocation or iteration, and the bytes of an element."""

    name: str
    elements: int = 8
    size: int = 4


KERNELS = (
    Kernel("words"),
    Kernel("uniform_f32"),
    Kernel("normal_f32"),
    Kernel("normal_f32_3217"),
    Kernel("normal_bf16", size=2),
    Kernel("truncated_f32"),
    Kernel("float_f32"),
)
TORCH_KERNELS = (Kernel("torch_uniform", 4), Kernel("torch_normal", 4))

# "wide" runs on the pipe of IMAD at another rate. "uniform" is computed once for all lanes of a warp. "other"
# takes issue slots alone: constants, special registers, control flow.
PIPES = ("ALU", "IMAD", "wide", "FP32", "XU", "load", "store", "uniform", "other")
NOT_ARITHMETIC = {
    "BAR",
    "BRA",
    "BSSY",
    "BSYNC",
    "CALL",
    "CS2R",
    "EXIT",
    "LDC",
    "RET",
    "S2R",
    "S2UR",
    "ULDC",
    "WARPSYNC",
}


class Instruction(NamedTuple):
    opcode: str
    conditional: bool
    target: str


class Code(NamedTuple):
    """The instructions of a kernel, and the positions of its labels."""

    instructions: list[Instruction]
    labels: dict[str, int]


class Row(NamedTuple):
    """Instructions an element by pipe, and the cycles for which they occupy the pipes of one scheduler."""

    name: str
    size: int
    counts: dict[str, float]
    cycles: dict[str, float]

    def most(self) -> float:
        return max(self.cycles.values())

    def share(self, gpu: Gpu) -> float:
        """Returns the share of a GPU's memory bandwidth, if the fullest pipe is never idle."""
        return min(1.0, budget(gpu, self.size) / self.most())


def budget(gpu: Gpu, size: int) -> float:
    """Returns the cycles that a scheduler has for an element of `size` bytes at the full bandwidth."""
    return gpu.multiprocessors * SCHEDULERS * WARP * gpu.clock * size / gpu.bandwidth


def only(pattern: str) -> str:
    found = glob.glob(os.path.join(PACKAGES, "nvidia", pattern), recursive=True)
    if not found:
        sys.exit(f"no nvidia/{pattern} in {PACKAGES}: pip install {NEEDED}")
    return found[0]


def include(header: str) -> str:
    """Returns the option that lets the compiler find a header of a package."""
    return "-I" + only(f"**/include/**/{header}").removesuffix("/" + header)


def compiled(path: str, architecture: str, options: Sequence[str]) -> tuple[bytes, str]:
    """Returns the machine code of a file, and the version of the compiler."""
    nvrtc = ctypes.CDLL(only("**/libnvrtc.so.*"))
    program = ctypes.c_void_p()

    def call(name: str, *arguments: object) -> None:
        if getattr(nvrtc, name)(*arguments):
            length = ctypes.c_size_t()
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(length))
            log = ctypes.create_string_buffer(length.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            sys.exit(f"{name}, {path} for {architecture}: {log.value.decode()}")

    with open(path, "rb") as file:
        source = file.read()
    flags = [f"--gpu-architecture={architecture}".encode(), *(option.encode() for option in options)]
    call("nvrtcCreateProgram", ctypes.byref(program), source, os.path.basename(path).encode(), 0, None, None)
    call("nvrtcCompileProgram", program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
    length = ctypes.c_size_t()
    call("nvrtcGetCUBINSize", program, ctypes.byref(length))
    code = ctypes.create_string_buffer(length.value)
    call("nvrtcGetCUBIN", program, code)
    major, minor = ctypes.c_int(), ctypes.c_int()
    call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return code.raw, f"{major.value}.{minor.value}"


def disassembled(code: bytes) -> dict[str, Code]:
    """Returns the kernels of machine code by name."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        dump = [only("**/bin/nvdisasm"), "-c", file.name]
        listing = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    kernels = {}
    for part in re.split(r"^\.text\.", listing, flags=re.M)[1:]:
        name, lines = part.split(":", 1)
        kernel = Code([], {})
        for line in lines.splitlines():
            if label := re.match(r"(\.L\w+):", line):
                kernel.labels[label[1]] = len(kernel.instructions)
            elif found := re.match(r"\s+/\*[0-9a-f]+\*/\s+(@\S+ +)?([A-Z0-9_.]+)(.*)", line):
                guard, opcode, operands = found.groups()
                target = re.search(r"`\((\.L\w+)\)", operands)
                # The condition of a branch is its guard, or a predicate before its target.
                condition = guard or re.match(r"[^`]*\bU?P\d", operands)
                instruction = Instruction(opcode, bool(condition), target[1] if target else "")
                kernel.instructions.append(instruction)
        kernels[name] = kernel
    return kernels


def whole(kernel: Code) -> list[str]:
    """Returns the opcodes of a kernel up to the branch behind its end, which jumps to itself."""
    end = next(
        position
        for position, instruction in enumerate(kernel.instructions)
        if instruction.opcode == "BRA" and kernel.labels.get(instruction.target) == position
    )
    return [instruction.opcode for instruction in kernel.instructions[:end] if instruction.opcode != "NOP"]


def way(kernel: Code, longest: bool) -> list[str]:
    """Returns the opcodes of the shortest or longest way through the longest loop of a kernel, among the ways
    that make the most stores and call no function."""
    back = {
        position: kernel.labels.get(instruction.target, position)
        for position, instruction in enumerate(kernel.instructions)
        if instruction.opcode.startswith("BRA")
    }
    last = max(back, key=lambda position: position - back[position])
    # From the end of the loop to its head, since all branches inside go forward: the best way from each
    # instruction to the end, as its stores, its length (negated for the shortest) and the next instruction.
    best: dict[int, tuple[int, int, int]] = {last: (0, 0, -1)}
    for position in range(last - 1, back[last] - 1, -1):
        opcode, conditional, target = kernel.instructions[position]
        # A call under a condition is how the compiler leaves the loop at times.
        if opcode.startswith("CALL") and not conditional:
            continue
        branch = opcode.startswith("BRA")
        following = [kernel.labels[target]] if branch else []
        if conditional or not (branch or opcode.startswith("EXIT")):
            following.append(position + 1)
        ways = [(*best[next_one][:2], next_one) for next_one in following if next_one in best]
        if ways:
            stores, length, next_one = max(ways)
            stores += opcode.startswith("STG")
            best[position] = (stores, length + (1 if longest else -1), next_one)
    position, opcodes = back[last], []
    while position != -1:
        opcodes.append(kernel.instructions[position].opcode)
        position = best[position][2]
    return [opcode for opcode in opcodes if opcode != "NOP"]


def pipe(opcode: str) -> str:
    name = opcode.split(".")[0]
    if name == "IMAD":
        return "wide" if ".WIDE" in opcode or ".HI" in opcode else "IMAD"
    if name == "HFMA2":  # a way to load a constant, on the FMA pipes
        return "IMAD"
    if name in ("FADD", "FMUL", "FFMA"):
        return "FP32"
    if name in ("MUFU", "FLO", "POPC", "BREV", "I2F", "F2I", "F2F", "FRND"):
        return "XU"
    if name in ("LDG", "LDS"):
        return "load"
    if name in ("STG", "STS"):
        return "store"
    if name in NOT_ARITHMETIC:
        return "other"
    # The rest: IADD3, LOP3, SHF, LEA, PRMT, SEL, ISETP, VIADD, VIMNMX, I2FP, MOV, FSEL, FSETP and so on.
    return "uniform" if name.startswith("U") else "ALU"


def row(name: str, kernel: Kernel, opcodes: Sequence[str], architecture: str) -> Row:
    found = Counter(pipe(opcode) for opcode in opcodes)
    counts = {pipe: found[pipe] / kernel.elements for pipe in PIPES}
    counts["issue"] = len(opcodes) / kernel.elements

    def cycles(rate: float) -> float:
        return WARP * SCHEDULERS / rate

    products = counts["IMAD"] * cycles(MULTIPLY) + counts["wide"] * cycles(WIDE)
    floats = FLOAT[architecture]
    return Row(
        name,
        kernel.size,
        counts,
        {
            "issue": counts["issue"] * cycles(ISSUED),
            "ALU": counts["ALU"] * cycles(INTEGER),
            # Integer multiplies run on 64 of the float lanes, floats on all of them.
            "FMA": max(products, products * MULTIPLY / floats + counts["FP32"] * cycles(floats)),
            "XU": counts["XU"] * cycles(SPECIAL),
        },
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|---|" + "---:|" * (len(head) - 1))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")
    print()


def main() -> None:
    architecture = sys.argv[1] if len(sys.argv) > 1 else "sm_90"
    if architecture not in GPUS:
        sys.exit(f"no issue rates for {architecture}: take one of {', '.join(GPUS)}")
    gpus = GPUS[architecture]
    # WGSL's log, sin and cos may be as coarse as those of --use_fast_math. PyTorch is built without it.
    code, version = compiled(os.path.join(HERE, "fill.cu"), architecture, ("--use_fast_math",))
    fills = disassembled(code)
    headers = (include("curand_kernel.h"), include("cuda/std/version"))
    torch = disassembled(compiled(os.path.join(HERE, "torch.cu"), architecture, headers)[0])
    rows = [row(kernel.name, kernel, whole(fills[kernel.name]), architecture) for kernel in KERNELS]
    for kernel in TORCH_KERNELS:
        for name, longest in (("shortest", False), ("longest", True)):
            opcodes = way(torch[kernel.name], longest)
            rows.append(row(f"{kernel.name}, {name}", kernel, opcodes, architecture))

    print(f"## {architecture}, NVRTC {version}\n\nInstructions an element, by pipe:\n")
    names = ("issue", *PIPES)
    table(("fill", *names), [(r.name, *(f"{r.counts[name]:.2f}" for name in names)) for r in rows])
    print("Cycles an element and scheduler, their maximum T, modelled share of the memory bandwidth:\n")
    table(
        ("fill", *rows[0].cycles, "T", *(gpu.name for gpu in gpus)),
        [
            (
                r.name,
                *(f"{cycles:.1f}" for cycles in r.cycles.values()),
                f"{r.most():.1f}",
                *(f"{100 * r.share(gpu):.0f} %" for gpu in gpus),
            )
            for r in rows
        ],
    )
    print("The model:\n")
    rates = (
        f"A multiprocessor has {SCHEDULERS} schedulers, and each issues an instruction a cycle. Results a "
        f"cycle and multiprocessor: ALU {INTEGER}, IMAD {MULTIPLY}, wide (IMAD.WIDE, IMAD.HI) {WIDE:.0f}, "
        f"FP32 {FLOAT[architecture]}, XU {SPECIAL}. IMAD, wide and FP32 share the FMA pipes."
    )
    left_out = (
        "The pipes work side by side, and the fullest one is never idle. Left out: latency, table reads that "
        "wait for the L1 cache, clocks that fall under load (shares below 100 % fall with them), and what a "
        "plain fill misses of the bandwidth, about a tenth."
    )
    of_gpus = [
        f"{gpu.name}: {gpu.multiprocessors} multiprocessors, {gpu.clock / 1e9:.2f} GHz, "
        f"{gpu.bandwidth / 1e12:.2f} TB/s. At that bandwidth a scheduler has {budget(gpu, 4):.1f} cycles for "
        f"an f32 element, {budget(gpu, 2):.1f} for a bf16 element."
        for gpu in gpus
    ]
    of_torch = (
        "torch: the shortest and the longest way through an iteration of its loop that makes all four stores "
        "and calls no function. The usual way lies in between."
    )
    for text in (rates, left_out, *of_gpus, of_torch):
        print(textwrap.fill(text, 100, initial_indent="- ", subsequent_indent="  "))


if __name__ == "__main__":
    main()
