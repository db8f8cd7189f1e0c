"""Reads the folders that `fanin init` writes with other programs: Hugging Face transformers (by
from_pretrained) and the safetensors package. Prints the loaded models; fails if a weight differs.

    pip install torch transformers safetensors
    cargo build --release && python tests/data/load.py target/release/fanin

This is not part of the test suite, because torch and transformers take gigabytes. The test suite reads
the same files with the safetensors crate (crates/fanin-cli/tests/command/shards.rs).
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors import safe_open


def check(fanin, recipe, config, size):
    """Writes a model in shards of at most `size` and loads it."""
    with torch.device("meta"):
        meta = transformers.AutoModelForCausalLM.from_config(config)
    # Tied parameters are one tensor of the list.
    tensors = []
    for name, parameter in meta.named_parameters(remove_duplicate=True):
        tensors.append({"name": name, "shape": list(parameter.shape)})
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "list.json").write_text(json.dumps({"tensors": tensors}))
        out = folder / "model"
        out.mkdir()
        config.save_pretrained(out)
        subprocess.run(
            [fanin, "init", recipe, "--tensors", folder / "list.json", "--seed", "42", "--dtype", "bf16",
             "--backend", "cpu", "--max-shard-size", size, "--out", out],
            check=True,
        )
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            out, output_loading_info=True, dtype=torch.bfloat16
        )
        problems = {key: value for key, value in info.items() if value}
        assert not problems, problems
        files = sorted(out.glob("*.safetensors"))
        parameters = dict(model.named_parameters())
        compared = 0
        for file in files:
            with safe_open(file, "pt") as opened:
                assert opened.metadata()["seed"] == "42"
                for name in opened.keys():
                    assert torch.equal(opened.get_tensor(name), parameters[name]), name
                    compared += 1
        assert compared == len(tensors), (compared, len(tensors))
        print(
            f"transformers {transformers.__version__}: {recipe}, {compared} tensors in {len(files)} files, "
            f"{sum(p.numel() for p in parameters.values()):,} parameters, equal"
        )


def main():
    fanin = sys.argv[1]
    check(fanin, "gpt2", transformers.GPT2Config(), "100MB")
    check(fanin, "gpt2", transformers.GPT2Config(), "5GB")
    small = transformers.LlamaConfig(
        hidden_size=512, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=2, vocab_size=32000,
    )
    check(fanin, "llama", small, "20MiB")


if __name__ == "__main__":
    main()
