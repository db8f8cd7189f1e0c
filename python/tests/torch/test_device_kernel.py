"""The Triton kernel: its bits in the interpreter, and its instructions for devices."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Triton runs on Linux only")


@pytest.mark.parametrize(
    "test", ["every_fill", "every_slice", "strided_memory", "many_tensors", "choice"]
)
def test_interpreted_kernels_make_the_bits_of_the_cpu(test: str, in_folder: None) -> None:
    script = Path(__file__).with_name("interpreted.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    ended = subprocess.run(
        [sys.executable, str(script), test], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def compiled(target: tuple[str, Any, int], core: str, **changes: Any) -> dict[str, Any]:
    """Returns the assembly of the kernel for a device, by the name of its kind."""
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from fanin.torch._device._elements import Form
    from fanin.torch._device._kernel import fill
    from fanin.torch._device._requests import OPTIONS, Variant, constants

    fields = {"mask": "none", "is_exact": True, "dtype": torch.float32, "flat": True, **changes}
    form = Form(core, fields["mask"], fields["is_exact"], fields["dtype"])
    is_flat = fields["flat"]
    chosen = constants(Variant(form, 0 if is_flat else 2, is_flat), 0 if is_flat else 6)
    signature = {"requests": "*i64", **dict.fromkeys(chosen, "constexpr")}
    source = ASTSource(fill, signature, constexprs=chosen, attrs={(0,): [["tt.divisibility", 16]]})
    kernel = compile(source, target=GPUTarget(*target), options=OPTIONS)
    return dict(kernel.asm)


@pytest.fixture
def triton_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Triton compile anew."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("target", [("hip", "gfx942", 64), ("hip", "gfx1100", 32)], ids=str)
def test_the_kernel_compiles_for_amd(target: tuple[str, str, int], triton_cache: None) -> None:
    assert "amdgcn" in compiled(target, "normal")


FLOATS = re.compile(r"^\s*(?:@!?%p\d+ )?(\S*\.(?:b?f16|f32|f64|tf32)\S*)\s", re.MULTILINE)
#: The conversion of whole numbers, and one product.
ALLOWED = {"cvt.rn.f32.s32", "cvt.rn.f32.u32", "mul.rn.f32", "mul.f32", "mul.rn.f32x2"}

VARIANTS = {
    "normal": ("normal", {}),
    "normal in integers": ("normal", {"is_exact": False, "dtype": torch.float16, "flat": False}),
    "uniform": ("uniform", {"dtype": torch.bfloat16}),
    "quantile": ("quantile", {"dtype": torch.float16}),
    "constant": ("constant", {"mask": "diagonal", "dtype": torch.float16}),
    "lower": ("constant", {"mask": "lower"}),
    "sine": ("sine", {"dtype": torch.bfloat16}),
    "columns": ("columns", {}),
    "range": ("normal", {"mask": "range"}),
    "sparse": ("normal", {"mask": "sparse", "flat": False}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_no_float_is_computed_but_exact_ones(name: str, triton_cache: None) -> None:
    core, changes = VARIANTS[name]
    found = set(FLOATS.findall(compiled(("cuda", 90, 32), core, **changes)["ptx"]))
    assert found <= ALLOWED
    # Values in floats have a product; those in integers have none.
    is_drawn = core in ("normal", "uniform", "quantile")
    assert any(each.startswith("mul") for each in found) == (
        is_drawn and changes.get("is_exact", True)
    )


@pytest.mark.parametrize("capability", [80, 100])
def test_no_other_generation_computes_other_floats(capability: int, triton_cache: None) -> None:
    ptx = compiled(("cuda", capability, 32), "normal")["ptx"]
    assert set(FLOATS.findall(ptx)) <= ALLOWED
    # Whole blocks are stored by one instruction.
    assert "st.global.v4" in ptx
