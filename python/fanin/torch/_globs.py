"""Short lists of globs that match some names of a list and no others."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Prefixes of this many parts of a name are tried in front of a star.
_PREFIX_PARTS = 2
_LAST = chr(0x10FFFF)


def escaped(name: str) -> str:
    """Returns a glob that matches one name only."""
    return "".join("\\" + c if c in "*?[]{}\\!" else c for c in name)


@dataclass(frozen=True)
class _Glob:
    """Texts with a star between each two, and the names that they match."""

    texts: tuple[str, ...]
    names: frozenset[str]

    @property
    def text(self) -> str:
        """The glob."""
        return "*".join(map(escaped, self.texts))

    @property
    def order(self) -> tuple[int, int, int, int, str]:
        """Most names first, then few stars, whole parts and whole words, and few characters."""
        starts = {"": 0, ".": 0, "_": 1}.get(self.texts[-1][:1], 2)
        return (-len(self.names), len(self.texts), starts, len(self.text), self.text)


class Names:
    """All names of a list, each of a group, sorted by their endings."""

    def __init__(self, groups: Mapping[str, int]) -> None:
        """Takes the group of each name."""
        self.groups = groups
        self.reversed = sorted(name[::-1] for name in groups)
        group_of = [groups[name[::-1]] for name in self.reversed]
        #: For each position, the end of the run of names of its group.
        self.run_ends = [0] * len(group_of)
        for i in range(len(group_of) - 1, -1, -1):
            same = i + 1 < len(group_of) and group_of[i] == group_of[i + 1]
            self.run_ends[i] = self.run_ends[i + 1] if same else i + 1

    def globs(self, names: Sequence[str]) -> list[str]:
        """Returns globs that match all names of a group, and no other name of the list."""
        left = dict.fromkeys(names)
        chosen: list[_Glob] = []
        for glob in sorted(self._candidates(names), key=lambda glob: glob.order):
            if sum(name in left for name in glob.names) > 1:
                chosen.append(glob)
                for name in glob.names:
                    left.pop(name, None)
        chosen = _without_redundant(chosen)
        # In the order of the list, by the first name that each matches.
        position = {name: i for i, name in enumerate(names)}
        found = [(min(map(position.__getitem__, glob.names)), glob.text) for glob in chosen]
        found += [(position[name], escaped(name)) for name in left]
        return [text for _, text in sorted(found)]

    def _candidates(self, names: Sequence[str]) -> list[_Glob]:
        """Returns globs that match several names of a group, and no other names."""
        tried: dict[tuple[str, ...], _Glob | None] = {}

        def matched(texts: tuple[str, ...], group: int) -> frozenset[str]:
            if texts not in tried:
                found = self._matches(texts, group)
                tried[texts] = _Glob(texts, found) if len(found) > 1 else None
            glob = tried[texts]
            return frozenset() if glob is None else glob.names

        for name in names:
            group = self.groups[name]
            endings = _endings(name)
            for prefix in _prefixes(name):
                most = 0
                for ending in endings:
                    if len(prefix) + len(ending) > len(name):
                        break
                    count = len(matched((prefix, ending), group))
                    if count < most:
                        break  # A longer ending matches no more names.
                    most = count
            matched(_numbers_as_stars(name), group)
        return [glob for glob in tried.values() if glob is not None]

    def _matches(self, texts: tuple[str, ...], group: int) -> frozenset[str]:
        """Returns the names that a glob matches, or none if one is of another group."""
        ending = texts[-1][::-1]
        first = bisect.bisect_left(self.reversed, ending)
        end = bisect.bisect_left(self.reversed, ending + _LAST)
        if texts[0] == "" and len(texts) == 2:
            if self.run_ends[first] < end:
                return frozenset()
            return frozenset(name[::-1] for name in self.reversed[first:end])
        pattern = re.compile(".*".join(map(re.escape, texts)), re.DOTALL)
        found = []
        for name in (name[::-1] for name in self.reversed[first:end]):
            if pattern.fullmatch(name):
                if self.groups[name] != group:
                    return frozenset()
                found.append(name)
        return frozenset(found)


def _without_redundant(globs: Sequence[_Glob]) -> list[_Glob]:
    """Leaves out globs whose names others match, the least important ones first."""
    kept = list(globs)
    for glob in reversed(globs):
        others = frozenset().union(*(other.names for other in kept if other is not glob))
        if glob.names <= others:
            kept.remove(glob)
    return kept


def _prefixes(name: str) -> list[str]:
    """Returns the beginnings of a name that are tried in front of a star."""
    parts = name.split(".")
    counts = {*range(min(len(parts), _PREFIX_PARTS + 1))}
    counts.add(next((i for i, part in enumerate(parts) if part.isdigit()), 0))
    return ["".join(f"{part}." for part in parts[:count]) for count in sorted(counts)]


def _endings(name: str) -> list[str]:
    """Returns the endings of a name that begin at a word, with and without the character before.

    They grow in length, and have at most one number of a layer.
    """
    found = [""]
    numbers = 0
    for i in range(len(name) - 1, -1, -1):
        if name[i] not in "._":
            continue
        word = name[i + 1 :]
        numbers += word.split(".")[0].isdigit() and name[i] == "."
        if numbers > 1:
            return found
        # A glob such as `*1.bias` would hide that the 1 is a layer.
        found += [name[i:]] if word[:1].isdigit() else [word, name[i:]]
    return [*found, name]


def _numbers_as_stars(name: str) -> tuple[str, ...]:
    texts = [""]
    for i, part in enumerate(name.split(".")):
        dot = "." if i else ""
        if part.isdigit():
            texts[-1] += dot
            texts.append("")
        else:
            texts[-1] += dot + part
    return tuple(texts)
