"""Instructions an element of fill.cu in the machine code of an NVIDIA GPU, which need not be there:
`pip install nvidia-cuda-nvrtc triton`, then `python benches/instructions/count.py [sm_90]`.

NVRTC compiles, the cuobjdump that comes with triton prints the machine code, and what is counted is what
a warp issues for the four elements of a block, `NOP` and the branch behind the end left out.
"""

import collections
import ctypes
import glob
import os
import re
import subprocess
import sys
import sysconfig
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = sysconfig.get_paths()["purelib"]
ELEMENTS = 4


def only(pattern):
    found = glob.glob(os.path.join(PACKAGES, pattern), recursive=True)
    if not found:
        sys.exit(f"no {pattern} in {PACKAGES}: pip install nvidia-cuda-nvrtc triton")
    return found[0]


def compiled(source, architecture):
    nvrtc = ctypes.CDLL(only("nvidia/**/libnvrtc.so.*"))
    program = ctypes.c_void_p()

    def call(name, *arguments):
        if getattr(nvrtc, name)(*arguments):
            length = ctypes.c_size_t()
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(length))
            log = ctypes.create_string_buffer(length.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            sys.exit(f"{name}: {log.value.decode()}")

    options = [f"--gpu-architecture={architecture}".encode(), b"--use_fast_math"]
    call("nvrtcCreateProgram", ctypes.byref(program), source, b"fill.cu", 0, None, None)
    call("nvrtcCompileProgram", program, len(options), (ctypes.c_char_p * len(options))(*options))
    length = ctypes.c_size_t()
    call("nvrtcGetCUBINSize", program, ctypes.byref(length))
    code = ctypes.create_string_buffer(length.value)
    call("nvrtcGetCUBIN", program, code)
    return code.raw


def main():
    architecture = sys.argv[1] if len(sys.argv) > 1 else "sm_90"
    with open(os.path.join(HERE, "fill.cu"), "rb") as file:
        code = compiled(file.read(), architecture)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        dump = [only("triton/**/cuobjdump"), "-sass", file.name]
        listing = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    counts = {}
    for part in listing.split("Function : ")[1:]:
        found = re.findall(r"^\s+/\*[0-9a-f]{4}\*/\s+(?:@!?U?P\w+ )?([A-Z0-9_]+(?:\.WIDE)?)", part, re.M)
        count = collections.Counter(found)
        del count["NOP"], count["BRA"]
        counts[part.split()[0]] = count
    print(f"{architecture}, instructions an element\n")
    print("| fill | all | of them multiplies | most of the rest |")
    print("|---|---:|---:|---|")
    for name, count in sorted(counts.items(), key=lambda item: sum(item[1].values())):
        multiplies = sum(n for key, n in count.items() if key.startswith("IMAD"))
        rest = [f"{key} {n / ELEMENTS:.1f}" for key, n in count.most_common() if not key.startswith("IMAD")]
        total = sum(count.values()) / ELEMENTS
        print(f"| {name} | {total:.1f} | {multiplies / ELEMENTS:.1f} | {', '.join(rest[:6])} |")


if __name__ == "__main__":
    main()
