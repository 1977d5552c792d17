"""Disjoint sets of indexes, joined pair by pair (union-find with path halving)."""


class DisjointSets:
    """The indexes from 0 to `number` - 1, each in a set of its own at first."""

    def __init__(self, number: int) -> None:
        self._parent = list(range(number))

    def root(self, index: int) -> int:
        """Return the root of an index: the one that stands for its set."""
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def join(self, index: int, other: int) -> None:
        """Make one set of the sets of two indexes; the root of `other` stands for it."""
        self._parent[self.root(index)] = self.root(other)

    def joined(self, index: int, other: int) -> bool:
        """Return whether two indexes are in one of the disjoint sets."""
        return self.root(index) == self.root(other)
