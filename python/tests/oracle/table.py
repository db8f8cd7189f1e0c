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

Every model that the libraries list was recorded by its own constructor, without pretrained weights.
Models of timm and torchvision have their real size. Those of transformers have their default
configuration with at most two layers of a kind where that can be set ({shallow}), their default
({default}), or small sizes ({small}). Models of up to 40 million parameters were compared with two
real constructions: names, order, shapes, dtypes, random elements, ties and copies, and all known
values bit for bit.

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


def markdown(results: list[dict[str, Any]]) -> str:
    """Returns the page."""
    recorded = [result for result in results if "failed" not in result]
    failed = [result for result in results if "failed" in result]
    sizes = Counter(result["size"] for result in recorded)
    packages = ("torch", "torchvision", "timm", "transformers")
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{package} {importlib.metadata.version(package)}" for package in packages]
    head = _HEAD.format(
        date=datetime.date.today(),
        versions=", ".join(versions),
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
    """Lists tensors of some classes: names whose numbers differ are one row."""
    rows: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for result in recorded:
        names: Counter[tuple[str, str]] = Counter()
        for name, origin, detail in result["others"]:
            if origin in origins.split():
                names[_glob(name), f"{origin}: {detail}"] += 1
        for (name, text), count in names.items():
            rows[name, str(count), _short(text)].append(result["label"])
    if not rows:
        return f"## {title}\n\nNone.\n"
    lines = [
        f"| {', '.join(labels)} | `{name}` | {count} | {text} |"
        for (name, count, text), labels in rows.items()
    ]
    head = f"## {title}\n\n| models | tensors | count | class |\n|---|---|---:|---|\n"
    return head + "\n".join(sorted(lines)) + "\n"


def _glob(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)


def _short(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:120]


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
        reasons[reason].append(result["label"])
    lines = [
        f"- {_short(reason)} ({len(labels)}): {', '.join(labels)}"
        for reason, labels in reasons.items()
    ]
    return "## Not recorded\n\n" + ("\n".join(lines) or "None.") + "\n"
