"""COVERAGE.md from the results of `coverage.py`."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LIBRARIES = ("timm", "torchvision", "transformers")
ORIGINS = ("rule", "parts", "kept", "tied", "same", "derived", "replay", "uninit")

_HEAD = """# Coverage of `fanin.torch.record`

`python -m tests.oracle.coverage` wrote this page on {date}, with {versions}.

Models are recorded by their own constructors, without pretrained weights: {tried} of the {listed}
that the libraries list have been tried. Models of timm and torchvision have their real size. Those
of transformers have their default configuration with at most two layers of a kind where that can be
set ({shallow}), their default ({default}), or small sizes ({small}). Models of up to 40 million
parameters were compared with two real constructions: names, order, shapes, dtypes, random elements,
ties and copies, all known values bit for bit, and the values of the saved recipe.

| library | models | tensors | {origins} | closed form | compared | of them with a difference |
|---|---:|---:|{dashes}---:|---:|---:|
"""


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the results in a file, the last one of each model."""
    if not path.exists():
        return []
    results = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(
        {result["label"]: result for result in results}.values(), key=lambda result: result["label"]
    )


def markdown(results: list[dict[str, Any]], listed: int) -> str:
    """Returns the page. The libraries list so many models, with those that have no results."""
    recorded = [result for result in results if "failed" not in result]
    failed = [result for result in results if "failed" in result]
    sizes = Counter(result["size"] for result in recorded)
    packages = ("torch", "torchvision", "timm", "transformers")
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{package} {importlib.metadata.version(package)}" for package in packages]
    head = _HEAD.format(
        date=datetime.date.today(),
        versions=", ".join(versions),
        tried=len(results),
        listed=listed,
        shallow=sizes["at most two layers"],
        default=sizes["default"],
        small=sizes["small"],
        origins=" | ".join(ORIGINS),
        dashes="---:|" * len(ORIGINS),
    )
    rows = [_row(library, recorded) for library in LIBRARIES]
    parts = [
        head + "".join(rows) + _row("", recorded),
        _others("Tensors without a closed form", "derived replay", recorded),
        _others("Tensors that nothing initializes", "uninit", recorded),
        _differences(recorded),
        _failures(failed),
    ]
    return "\n".join(part for part in parts if part)


def _row(library: str, recorded: list[dict[str, Any]]) -> str:
    mine = [result for result in recorded if result["label"].startswith(library)]
    origins: Counter[str] = sum((Counter(result["origins"]) for result in mine), Counter())
    total = sum(origins.values())
    known = total - origins["derived"] - origins["replay"]
    compared = [result for result in mine if result["compared"]]
    different = [result for result in compared if result["differences"]]
    cells = [library or "all", len(mine), total, *(origins[origin] for origin in ORIGINS)]
    share = f"{100 * known / max(total, 1):.3f} %"
    return "| " + " | ".join(map(str, [*cells, share, len(compared), len(different)])) + " |\n"


def _others(title: str, origins: str, recorded: list[dict[str, Any]]) -> str:
    """Lists tensors of some classes: a row for each kind, with its count in each model."""
    rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for result in recorded:
        for name, origin, detail in result["others"]:
            if origin in origins.split():
                kind = result["label"].partition("/")[2]
                rows[_tail(name), _short(f"{origin}: {_PATH.sub(_last, detail)}")][kind] += 1
    if not rows:
        return f"## {title}\n\nNone.\n"
    head = f"## {title}\n\n| tensor | class | count | in |\n|---|---|---:|---|\n"
    lines = []
    for (name, text), models in sorted(rows.items()):
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(models.items()))
        lines.append(f"| `{name}` | {text} | {sum(models.values())} | {kinds} |\n")
    return head + "".join(lines)


_PATH = re.compile(r"\w+(?:\.\w+)*\.([a-z_]\w*)")


def _last(path: re.Match[str]) -> str:
    """Returns the last part of the name of a tensor."""
    return path[1]


def _tail(name: str) -> str:
    """Returns the end of a name: from the last module of a parametrization on, or the last part."""
    end = re.sub(r".*?([^.]+(\.parametrizations\.\w+)?\.[^.]+)$", r"*.\1", name)
    return re.sub(r"^\*\.\d+\.", "*.", end)


def _short(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:160]


def _differences(recorded: list[dict[str, Any]]) -> str:
    lines = [
        f"- {r['label']}: {_short('; '.join(r['differences'][:2]))}"
        for r in recorded
        if r["differences"]
    ]
    return "## Differences from a real construction\n\n" + ("\n".join(lines) or "None.") + "\n"


def _failures(failed: Iterable[dict[str, Any]]) -> str:
    """Lists models that were not recorded, those of one reason together."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for result in failed:
        reason = result["failed"]
        if result.get("construction") == "fails":
            reason = "torch alone cannot construct it here: a package or a setting is missing"
        if reason == "no model class":
            reason = "a part of another model, without a model class of its own"
        reasons[reason].append(result["label"])
    lines = [
        f"- {_short(reason)} ({len(labels)}): {', '.join(labels)}"
        for reason, labels in reasons.items()
    ]
    return "## Not recorded\n\n" + ("\n".join(lines) or "None.") + "\n"
