"""Records all models of timm, torchvision and transformers, and writes COVERAGE.md.

It takes about an hour, and goes on where it was stopped:

    cd python
    python -m tests.oracle.coverage run results.jsonl            # all models
    python -m tests.oracle.coverage run results.jsonl llama t5   # labels with one of these words
    python -m tests.oracle.coverage table results.jsonl          # writes COVERAGE.md

timm and torchvision models have their real size. Those of transformers have the default
configuration with at most two layers of a kind, where the configuration has such a number, or the
default one, or else that of the tests.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from . import table, zoo

#: Seconds for one model.
LIMIT = 120
#: Models of more parameters are recorded, but not compared with a real construction.
COMPARED = 40_000_000
#: A process records this many models: a crash or a leak costs few.
CHUNK = 25


def labels() -> list[str]:
    """Returns a label for each model that the libraries list, such as "timm/resnet18"."""
    import timm
    import torchvision
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return [
        *(f"timm/{name}" for name in timm.list_models()),
        *(f"torchvision/{name}" for name in torchvision.models.list_models()),
        *(f"transformers/{kind}" for kind in sorted(CONFIG_MAPPING.keys())),
    ]


def makers(label: str) -> Iterator[tuple[str, zoo.Make]]:
    """Yields the sizes of a model that are tried in turn, and a maker of each."""
    library, _, name = label.partition("/")
    if library == "timm":
        yield "real", zoo.timm_model(name)
    elif library == "torchvision":
        yield "real", zoo.torchvision_model(name)
    else:
        yield "at most two layers", zoo.transformers_model(name, zoo.SHALLOW)
        yield "default", zoo.transformers_model(name, {})
        yield "small", zoo.transformers_model(name)


def examine(label: str) -> dict[str, Any]:
    """Records a model, compares it if it is not large, and returns what there is to tell."""
    if label.startswith("transformers/"):
        kind = label.partition("/")[2]
        found = zoo.model_class(kind)
        if found is None:
            return {"label": label, "failed": "no model class"}
    failures = []
    for size, make in makers(label):
        try:
            return {"label": label, "size": size, **_examine(make)}
        except Exception as error:
            failures.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return {"label": label, "failed": failures[0], "construction": _constructs(label)}


def _examine(make: zoo.Make) -> dict[str, Any]:
    from fanin.torch import build, record

    from . import compare

    start = time.perf_counter()
    recorded = record(make)
    seconds = time.perf_counter() - start
    parameters = sum(p.numel() for p in recorded.model.parameters())
    tensors = recorded.tensors.values()
    compared = parameters <= COMPARED
    return {
        "class": type(recorded.model).__name__,
        "seconds": round(seconds, 2),
        "parameters": parameters,
        "origins": Counter(tensor.origin for tensor in tensors),
        "others": [
            (tensor.name, tensor.origin, tensor.detail)
            for tensor in tensors
            if tensor.origin in ("derived", "replay", "uninit")
        ],
        "warnings": recorded.warnings,
        "compared": compared,
        "differences": compare.differences(recorded, make, build) if compared else [],
    }


def _constructs(label: str) -> str:
    """Returns the first size that torch alone can construct, or "fails".

    The meta device is enough for that, and takes no memory.
    """
    for size, make in makers(label):
        try:
            with torch.device("meta"):
                make()
            return size
        except Exception:
            continue
    return "fails"


class _OutOfTime(BaseException):
    """Not an Exception: models catch those."""


def _alarm(*_: object) -> None:
    raise _OutOfTime


def work(labels: list[str]) -> None:
    """Examines models in this process and prints a line of JSON for each."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _alarm)
    for label in labels:
        signal.alarm(LIMIT)
        try:
            result = examine(label)
        except _OutOfTime:
            result = {"label": label, "failed": f"more than {LIMIT} s"}
        signal.alarm(0)
        print("\n" + json.dumps(result), flush=True)


def run(results: Path, words: list[str]) -> None:
    """Examines all models that `results` does not have, in processes of `CHUNK` models."""
    done = {result["label"] for result in table.read(results)}
    left = [label for label in labels() if label not in done]
    left = [label for label in left if not words or any(word in label for word in words)]
    while left:
        chunk, left = left[:CHUNK], left[CHUNK:]
        call = [sys.executable, "-m", "tests.oracle.coverage", "work", "-", *chunk]
        process = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = [line for line in process.stdout.splitlines() if line.startswith('{"label"')]
        examined = {json.loads(line)["label"] for line in lines}
        crashed = [label for label in chunk if label not in examined][:1]
        lines += [
            json.dumps({"label": label, "failed": f"exit status {process.returncode}"})
            for label in crashed
        ]
        left = [label for label in chunk if label not in examined and label not in crashed] + left
        with results.open("a") as file:
            file.writelines(line + "\n" for line in lines)
        print(f"{len(left)} left", flush=True)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "work", "table"])
    parser.add_argument("results", help="a file of JSON lines")
    parser.add_argument("words", nargs="*", help="words of labels, for run")
    options = parser.parse_args()
    if options.command == "work":
        work(options.words)
    elif options.command == "run":
        run(Path(options.results), options.words)
    else:
        Path(__file__).with_name("COVERAGE.md").write_text(
            table.markdown(table.read(Path(options.results)), len(labels()))
        )


if __name__ == "__main__":
    main()
