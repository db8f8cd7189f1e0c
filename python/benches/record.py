"""Time and memory of recording large models: `python python/benches/record.py`.

Each model is recorded in a process of its own, once, after its library is imported. Memory is the
peak of the process beyond what it had before.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import report

#: Names of a configuration and of a model of transformers. The sizes of Llama-3-8B are those of its
#: model card.
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GPT-2": ("GPT2Config", "GPT2LMHeadModel", {}),
    "Llama-3-8B": (
        "LlamaConfig",
        "LlamaForCausalLM",
        {
            "vocab_size": 128256,
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "rope_theta": 500000.0,
        },
    ),
    "DeepSeek-V3": ("DeepseekV3Config", "DeepseekV3ForCausalLM", {}),
}


def main() -> None:
    """Records every model and prints a table in Markdown, or records the one that is named."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    import transformers

    print(report.head("python-record", {"transformers": transformers.__version__}))
    print("| model | parameters | tensors | seconds | torch on meta | memory | recipe | classes |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    for name in MODELS:
        call = [sys.executable, __file__, name]
        m = json.loads(
            subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        )
        cells = [
            name,
            f"{m['parameters'] / 1e9:.2f} G",
            m["tensors"],
            f"{m['seconds']:.2f}",
            f"{m['meta']:.2f}",
            f"{m['bytes'] / 2**20:.0f} MiB",
            f"{m['lines']} lines",
            m["classes"],
        ]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def measure(name: str) -> dict[str, Any]:
    """Records a model in this process."""
    import torch
    import transformers

    from fanin.torch import record

    configuration, model, sizes = MODELS[name]
    config = getattr(transformers, configuration)(**sizes)
    make = getattr(transformers, model)
    record(torch.nn.Linear, 2, 2)  # Imports what the first recording needs.
    start = time.perf_counter()
    with torch.device("meta"):
        make(config)
    meta = time.perf_counter() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    recorded = record(make, config)
    seconds = time.perf_counter() - start
    text = recorded.recipe.text
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    classes = Counter(tensor.origin for tensor in recorded.tensors.values())
    return {
        "parameters": sum(p.numel() for p in recorded.model.parameters()),
        "tensors": len(recorded.tensors),
        "seconds": seconds,
        "meta": meta,
        "bytes": (after - before) * 1024,
        "lines": len(text.splitlines()),
        "classes": ", ".join(f"{count} {origin}" for origin, count in classes.most_common()),
    }


if __name__ == "__main__":
    main()
