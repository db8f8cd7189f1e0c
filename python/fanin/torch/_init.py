"""`init_`: fills the tensors of an existing model, or the shards of it that this rank holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from os import PathLike
from typing import Any

import torch
from torch import nn

import fanin
from fanin._errors import ArgumentError, FaninError
from fanin._progress import Progress, ProgressLike
from fanin._recipe import recipe_of
from fanin.torch._device import together
from fanin.torch._fill import Means, check_seed, write
from fanin.torch._fit import about_ties, check_memory, check_values, check_written
from fanin.torch._geometry import Part
from fanin.torch._materialize import materialize_attributes
from fanin.torch._model import Slot, by_memory, selected, slots
from fanin.torch._recorded import Recorded
from fanin.torch._report import Report
from fanin.torch._twins import method_of, own_code, record_code, unchanged_after_error
from fanin.torch._values import Values


def init_(
    model: nn.Module,
    seed: int,
    *,
    recipe: str | PathLike[str] | fanin.Recipe | Recorded | None = None,
    by: str | Callable[..., Any] | None = None,
    only: str | Iterable[str] | None = None,
    strict: bool = False,
    threads: int | None = None,
    progress: ProgressLike = None,
) -> Report:
    """Fills the parameters and buffers of a model in place, or the parts that this rank holds.

    The model can be a plain one, one from the meta device that got memory by `to_empty`, or one
    whose parameters are DTensors of FSDP2, tensor parallelism or both. Each rank makes the elements
    of its own shards, without messages. No rank makes a whole tensor, except for the few that need
    a replay. The values depend on the seed, the names and the whole shapes alone.

    The values come from one of three places:

    - `recipe`: rules for the names of tensors, or a recording of the model's constructor;
    - `by`: code that initializes the model, which is recorded, not run on its memory;
    - neither: the model's own code. That is `reset_parameters` of each module that has it, and
      then `init_weights` of the model if it has it, as in Hugging Face transformers and torchtitan.
      Code that only the constructor runs is not seen: use `recipe=record(...)` for it.

    Parameters stay the same objects with their `requires_grad`, and optimizers keep their state.
    Names are those of the state dict without the prefixes of wrappers, such as `_orig_mod.`.

    Args:
        model: The model. Tensors without memory must get it first: `model.to_empty(device=...)`.
        seed: From 0 to 2^64 - 1.
        recipe: The name of a preset, the path of a recipe, a `fanin.Recipe`, or a `Recorded`. A
            recording can have more tensors than the model, which may be a stage of a pipeline.
        by: A function of the model, or the name of a method without arguments, such as
            `"init_weights"`. It sees plain tensors of whole shapes in place of the model's own.
        only: A glob, or several, for names of tensors, as in recipes. The others keep their values.
        strict: If true, what would be a warning is an error.
        threads: The number of threads. All cores by default.
        progress: False for no progress bar, True for one, or a function of the bytes that are done
            and those of all. By default a bar of tqdm appears on a terminal after a second.

    Returns:
        What was written. `str` of it is one line.

    Raises:
        TypeError: For quantized, sparse and other tensors that are not dense, and for a model in
            `FullyShardedDataParallel`.
        ValueError: For a tensor without memory, for tensors that get no values, for shapes that
            differ from those of a recording, and for a `Partial` placement.

    Warns:
        RecordWarning: For tied tensors that `to_empty` has separated, and as `record`.

    Example:
        >>> import torch
        >>> from fanin.torch import init_
        >>> with torch.device("meta"):
        ...     model = torch.nn.Linear(784, 512)
        >>> _ = model.to_empty(device="cpu")
        >>> report = init_(model, seed=42)
    """
    started = time.perf_counter()
    if recipe is not None and by is not None:
        raise ArgumentError("recipe and by cannot be combined: both say which values tensors get")
    seed = check_seed(seed)
    every = slots(model)
    warned: list[str] = []
    # Only the code changes a model before its tensors are filled.
    with unchanged_after_error(model) if recipe is None else nullcontext():
        if isinstance(recipe, Recorded):
            values = Values.of_recording(recipe, seed)
        elif recipe is None:
            device = every[0].tensor.device if every else torch.device("cpu")
            recorded = record_code(model, _code(by))
            materialize_attributes(recorded, seed, device)
            every = slots(model)
            values = Values.of_recording(recorded, seed)
            warned += recorded.warnings
        else:
            values = _planned(recipe_of(recipe), every, seed)
        names = selected([slot.name for slot in every], only)
        tied = by_memory(every)
        chosen = [slots[0] for slots in tied if any(slot.name in names for slot in slots)]
        parts = check_memory(chosen)
        if recipe is None:
            check_written(chosen, values, by)
        warned += check_values(chosen, values)
        warned += about_ties(tied, values)
        filled = [slot for slot in chosen if slot.name in values]
        for slot in filled:
            values.check(slot.name, parts[slot.name].memory.dtype)
        if strict and warned:
            raise ArgumentError("; ".join(warned))
    report = Report()
    for message in warned:
        report.warn(message)
    written: dict[str, Part] = {}
    total = sum(parts[slot.name].memory.nbytes for slot in filled)
    with Progress(progress, "initialize") as bar:
        means = Means(threads, _of_all(bar.callback, total))
        with together():
            # First those of no plan: a replay can fail for a seed.
            for slot in sorted(filled, key=lambda slot: slot.name in values.plan):
                name, part = slot.name, parts[slot.name]
                written[name] = write(values.source(name), slot.tensor, part, means)
    for slot in filled:
        report.add(values.origin(slot.name), written[slot.name])
    firsts = {id(slot) for slot in filled}
    report.untouched = [slot.name for slots in tied if id(slots[0]) not in firsts for slot in slots]
    report.seconds = time.perf_counter() - started
    return report


def _of_all(
    callback: Callable[[int, int], None] | None, total: int
) -> Callable[[int, int], None] | None:
    """Returns a function that reports the progress of one tensor as that of all."""
    return None if callback is None else lambda made, _: callback(made, total)


def _code(by: str | Callable[..., Any] | None) -> Callable[[nn.Module], Any]:
    """Returns a function of the model that initializes it."""
    if by is None:
        return own_code
    if isinstance(by, str):
        return lambda model: method_of(model, by)(model)
    if callable(by):
        return by
    raise TypeError(f"by is a {type(by).__name__}; use a function of the model or a method's name")


def _planned(recipe: fanin.Recipe, every: Sequence[Slot], seed: int) -> Values:
    """Returns the values that rules give the tensors of a model.

    A tensor of several names has the first one. Tensors that the state dict leaves out may have no
    rule: recipes of checkpoints do not know them.
    """
    firsts = [slots[0] for slots in by_memory(every) if not slots[0].tensor.is_complex()]
    temporary = {slot.name for slot in firsts if slot.is_temporary}
    while True:
        listed = [(slot.name, list(slot.tensor.shape), str(slot.tensor.dtype)) for slot in firsts]
        try:
            return Values(recipe.plan(listed, seed), None, seed)
        except FaninError as error:
            without_rule = temporary.intersection(error._tensors)
            if not without_rule:
                raise
        firsts = [slot for slot in firsts if slot.name not in without_rule]
        temporary -= without_rule
