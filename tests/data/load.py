"""Reads the files that `fanin init` writes with other programs. Prints what was loaded; fails if a value
differs.

    pip install torch torchvision timm transformers jax flax keras safetensors
    cargo build --release -p fanin-cli && python tests/data/load.py target/release/fanin

It loads folders of shards by transformers' from_pretrained, and each state dict of
tests/data/state_dicts/ twice: by the safetensors package, whole and put together from the files of four
ranks, and by its framework.

This is not part of the test suite, because the frameworks take gigabytes. The test suite reads the same
files with the safetensors crate (crates/fanin-cli/tests/command/shards.rs and real_models.rs).
"""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import state_dicts
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent


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


def check_readme(fanin):
    """Runs the README's lines of Python, which write the list of a model, and plans the model."""
    import jax.numpy as jnp

    readme = (HERE.parent.parent / "README.md").read_text()
    blocks = re.findall("^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2, blocks
    module, (tokens, images) = state_dicts.flax_linen()[2]
    names = [
        ("mobilenet_v3", {"Model": lambda: state_dicts.mobilenet_v3_small()[2]}),
        ("flax_linen", {"model": Applied(module, tokens), "inputs": images.astype(jnp.float32)}),
    ]
    for block, (recipe, names) in zip(blocks, names):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            exec(block, names)
            if recipe == "flax_linen":
                recipe = HERE / "state_dicts" / "flax_linen.toml"
            plan = subprocess.run(
                [fanin, "plan", recipe, "--tensors", "list.json", "--seed", "42", "--json"],
                check=True, capture_output=True,
            )
            print(f"README: {len(names['rows'])} rows, planned in {len(plan.stdout):,} bytes", flush=True)


class Applied:
    """A module whose first input is given, because the README's lines have one input."""

    def __init__(self, module, first):
        self.init = lambda key, second: module.init(key, first, second)


def put_together(files):
    """Puts the tensors of ranks together by the parts that the metadata give."""
    tensors = {}
    for file in files:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
            for name in opened.keys():
                part = opened.get_tensor(name)
                if f"slice:{name}" not in metadata:
                    tensors[name] = part
                    continue
                shape = json.loads(metadata[f"shape:{name}"])
                ranges = [[int(end) for end in text.split(":")] for text in metadata[f"slice:{name}"].split(",")]
                whole = tensors.setdefault(name, torch.zeros(shape).to(part.dtype))
                bits(whole)[tuple(slice(*ends) for ends in ranges)] = bits(part)
    return tensors


def bits(tensor):
    """The elements as whole numbers: torch neither compares nor copies parts of all dtypes."""
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.view(whole[tensor.element_size()])


def assert_equal(name, a, b):
    assert a.dtype == b.dtype and a.shape == b.shape, (name, a.dtype, a.shape, b.dtype, b.shape)
    assert torch.equal(bits(a), bits(b)), name


def check_state_dict(fanin, name):
    """Writes a recorded state dict, whole and for four ranks, and loads it."""
    source, _, model = state_dicts.MODELS[name]()
    recorded = json.loads((HERE / "state_dicts" / f"{name}.json").read_text())["tensors"]
    recipe = HERE / "state_dicts" / f"{name}.toml"
    tensors = HERE / "state_dicts" / f"{name}.json"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if name == "swin":
            # Its index tables are carried over from a file with data.
            save_file(model.state_dict(), folder / "source.safetensors")
            tensors = folder / "source.safetensors"
            recipe = folder / "recipe.toml"
            rules = (HERE / "state_dicts" / "swin.toml").read_text().split("[[rule]]")
            recipe.write_text("[[rule]]".join(rules[:1] + rules[2:]))
        matrices = [row["name"] for row in recorded if len(row["shape"]) > 0]
        (folder / "spec.toml").write_text(
            'mesh = [{ name = "tp", size = 4 }]\n'
            f"[[rule]]\nmatch = {json.dumps(matrices)}\nplacements = ['shard(0)']\n"
            "[[rule]]\nmatch = '*'\nplacements = ['replicate']\n"
        )
        for more in ["--out", folder / "model"], ["--shard-spec", folder / "spec.toml", "--out", folder / "tp"]:
            subprocess.run(
                [fanin, "init", recipe, "--tensors", tensors, "--seed", "42", "--backend", "cpu", *more],
                check=True, capture_output=True,
            )
        loaded = load_file(folder / "model" / "model.safetensors")
        assert loaded.keys() == {row["name"] for row in recorded}
        for row in recorded:
            tensor = loaded[row["name"]]
            dtype = row["dtype"].removeprefix("torch.")
            assert str(tensor.dtype) == "torch." + dtype, (row, tensor.dtype)
            assert list(tensor.shape) == row["shape"], (row, tensor.shape)
            if "tied_to" in row:
                assert_equal(row["name"], tensor, loaded[row["tied_to"]])
            elif "values" in row:
                values = torch.tensor(row["values"], dtype=torch.float64).reshape(tensor.shape)
                error = 1e-6 if row["name"].endswith("inv_freq") else 0
                assert torch.allclose(tensor.double(), values, rtol=error, atol=0), row["name"]
        ranks = put_together(sorted((folder / "tp").glob("*.safetensors")))
        assert ranks.keys() == loaded.keys()
        for key, tensor in loaded.items():
            assert_equal(key, tensor, ranks[key])
        by = load_by_framework(name, model, folder / "model", loaded, recorded)
        elements = sum(tensor.numel() for tensor in loaded.values())
        print(f"{name}: {len(loaded)} tensors, {elements:,} elements, whole and of 4 ranks, equal; {by}", flush=True)


# Buffers that today's transformers makes itself and no longer loads.
OLD_BUFFERS = (".inv_freq", ".attn.bias", ".masked_bias", ".position_ids")


def load_by_framework(name, model, folder, loaded, recorded):
    """Loads the file into the framework's model and compares every value that the model holds."""
    if name == "flax_linen":
        return load_by_flax(model, folder)
    if name == "keras":
        return load_by_keras(model, folder)
    if name == "deepseek_fp8":
        return "by safetensors only"
    if isinstance(model, transformers.PreTrainedModel):
        model.config.save_pretrained(folder)
        dtype = torch.float16 if name == "llama2" else torch.float32
        model, info = type(model).from_pretrained(folder, output_loading_info=True, dtype=dtype)
        unexpected = info.pop("unexpected_keys", [])
        assert all(key.endswith(OLD_BUFFERS) for key in unexpected), unexpected
        problems = {key: value for key, value in info.items() if value}
        assert not problems, problems
        held = model.state_dict()
        assert all(key in held or key.endswith(OLD_BUFFERS) for key in loaded)
        # The loader ties what the file holds under several names, if it holds the same bits.
        for row in recorded:
            if "tied_to" in row:
                assert held[row["name"]].data_ptr() == held[row["tied_to"]].data_ptr(), row["name"]
        by = f"transformers {transformers.__version__} from_pretrained"
    else:
        result = model.load_state_dict(loaded, strict=True)
        assert not result.missing_keys and not result.unexpected_keys, result
        by = "load_state_dict(strict=True)"
    state = model.state_dict()
    for key, tensor in state.items():
        assert_equal(key, tensor, loaded[key])
    return f"{by}: {len(state)} tensors, equal"


def load_by_flax(model, folder):
    import flax
    import jax
    import numpy as np
    from safetensors.flax import load_file

    module, inputs = model
    loaded = load_file(folder / "model.safetensors")
    variables = flax.traverse_util.unflatten_dict(loaded, sep=".")
    expected = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    same = jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, variables, expected)
    assert jax.tree.all(same), same
    outputs = module.apply(variables, *inputs)
    assert all(np.isfinite(output).all() for output in jax.tree.leaves(outputs))
    return f"flax {flax.__version__} applies {len(loaded)} variables"


def load_by_keras(model, folder):
    import keras
    import numpy as np
    from safetensors.numpy import load_file

    loaded = load_file(folder / "model.safetensors")
    model.set_weights([loaded[weight.path] for weight in model.weights])
    for weight in model.weights:
        assert np.array_equal(np.asarray(weight.value), loaded[weight.path]), weight.path
    return f"keras {keras.__version__} set_weights: {len(loaded)} weights, equal"


def main():
    fanin = pathlib.Path(sys.argv[1]).resolve()
    check(fanin, "gpt2", transformers.GPT2Config(), "100MB")
    check(fanin, "gpt2", transformers.GPT2Config(), "5GB")
    small = transformers.LlamaConfig(
        hidden_size=512, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=2, vocab_size=32000,
    )
    check(fanin, "llama", small, "20MiB")
    check_readme(fanin)
    for name in state_dicts.MODELS:
        check_state_dict(fanin, name)


if __name__ == "__main__":
    main()
