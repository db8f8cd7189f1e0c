"""Short lists of globs that match some names of a list and no others."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
        self.forward = sorted(groups)
        self.reversed = sorted(name[::-1] for name in groups)
        self.by_part: dict[str, list[str]] = {}
        for name in groups:
            for part in set(name.split(".")):
                self.by_part.setdefault(part, []).append(name)
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
            if len(texts := _numbers_as_stars(name)) > 1:
                matched(texts, group)
        return [glob for glob in tried.values() if glob is not None]

    def _matches(self, texts: tuple[str, ...], group: int) -> frozenset[str]:
        """Returns the names that a glob matches, or none if one is of another group."""
        first, end = with_beginning(self.reversed, texts[-1][::-1])
        if texts[0] == "" and len(texts) == 2:
            if self.run_ends[first] < end:
                return frozenset()
            return frozenset(name[::-1] for name in self.reversed[first:end])
        found = []
        for name in self._fewest(texts, first, end):
            if _fits(name, texts):
                if self.groups[name] != group:
                    return frozenset()
                found.append(name)
        return frozenset(found)

    def _fewest(self, texts: tuple[str, ...], first: int, end: int) -> Iterator[str]:
        """Yields names, among them all that a glob matches.

        They are those with its beginning, those with its ending, from position `first` to `end`, or
        those with a part between stars: the fewest of them, because thousands of globs are tried.
        """
        begin, stop = with_beginning(self.forward, texts[0])
        between = [part for text in texts[1:-1] for part in text.split(".") if part]
        same_part = min((self.by_part.get(part, []) for part in between), key=len, default=None)
        if same_part is not None and len(same_part) < min(end - first, stop - begin):
            yield from same_part
        elif stop - begin < end - first:
            yield from (self.forward[at] for at in range(begin, stop))
        else:
            yield from (self.reversed[at][::-1] for at in range(first, end))


def with_beginning(names: Sequence[str], beginning: str) -> tuple[int, int]:
    """Returns the positions of the first of sorted names with a beginning, and after the last."""
    return bisect.bisect_left(names, beginning), bisect.bisect_left(names, beginning + _LAST)


def _fits(name: str, texts: tuple[str, ...]) -> bool:
    """Returns true if a name has texts in this order, apart from each other, from end to end."""
    # Not a regular expression: thousands of globs are tried, and each would be compiled.
    first, *between, last = texts
    at, end = len(first), len(name) - len(last)
    if at > end or not (name.startswith(first) and name.endswith(last)):
        return False
    for text in between:
        at = name.find(text, at, end)
        if at < 0:
            return False
        at += len(text)
    return True


def _without_redundant(globs: Sequence[_Glob]) -> list[_Glob]:
    """Leaves out globs whose names others match, the least important ones first."""
    matches = Counter(name for glob in globs for name in glob.names)
    kept = []
    for glob in reversed(globs):
        if all(matches[name] > 1 for name in glob.names):
            matches.subtract(glob.names)
        else:
            kept.append(glob)
    return kept[::-1]


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
