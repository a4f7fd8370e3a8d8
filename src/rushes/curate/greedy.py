"""Greedy choice of rows that are unlike each other, by blocks of matrix products instead of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rushes.arrays import Float32s, Indices

BLOCK = 1024  # rows that are compared at once
_CHUNK = 8192  # kept rows that a block is compared with at once: 32 MiB of similarities
_SKETCH = 64  # directions of an embedding that the first, cheap comparison looks at
_SAMPLE = 1024  # rows that these directions are taken from
_ROUNDING = 1e-4  # the cheap comparison is in single precision, and must never be too low
_EXACT = 1e-6  # rounding of a product: a row is 1.0 similar to itself


def unlike(rows_ND: Float32s, tau: float) -> tuple[Indices, Float32s]:
    """Which rows stay, walking from the first to the last: those less than `tau` similar to every one that stays.

    PhysHPO (arXiv 2508.10858, sec. 3.1) after Deita. The paper prints "distance below tau" and compares with the pool;
    both read literally keep near duplicates, so as in Deita it is the similarity, and to what was kept.

    Exact, in O(N K) products for K kept rows but in few calls: a block of rows is compared with what is kept, then
    within itself. A first comparison in the strongest directions alone bounds every similarity from above, so that
    most pairs never need the whole product.

    Args:
        rows_ND: float32 [N, D], best first, of length one (or zero: similar to nothing). Not changed.
        tau: cosine similarity in (-1, 1] from which on two rows are too much alike.

    Returns:
        Two arrays [N]: for each row the kept row that it is most similar to among those that were looked at when it
        fell (-1 = it stays), and that similarity (0 for rows that stay).
    """
    count = len(rows_ND)
    walk = _GreedySelection(rows_ND, _sketch(rows_ND), tau, np.full(count, -1, np.int64), np.zeros(count, np.float32))
    chosen, chosen_sketch = np.empty(count, np.int64), np.empty_like(walk.sketch)
    size = 0
    for start in range(0, count, BLOCK):
        block = np.arange(start, min(start + BLOCK, count))
        for low in range(0, size, _CHUNK):
            high = min(low + _CHUNK, size)
            walk.against(walk.staying(block), chosen[low:high], chosen_sketch[low:high])
        walk.within(walk.staying(block))
        new = walk.staying(block)
        chosen[size : size + len(new)], chosen_sketch[size : size + len(new)] = new, walk.sketch[new]
        size += len(new)
    return walk.blocker, walk.likeness


def _sketch(rows_ND: Float32s) -> Float32s:
    """[N, S + 1]: rows along the strongest directions, then the length of the rest.

    The inner product of two sketches is at least that of the rows: the rests add at most the product of their lengths
    (Cauchy-Schwarz). It holds for any orthonormal directions; those that hold most of the rows make it tight.
    """
    if rows_ND.shape[1] <= 2 * _SKETCH:
        return rows_ND
    sample = rows_ND[np.linspace(0, len(rows_ND) - 1, min(_SAMPLE, len(rows_ND))).astype(int)]
    directions = np.linalg.svd(sample.astype(np.float64), full_matrices=False)[2][:_SKETCH]
    strong = rows_ND @ directions.T.astype(np.float32)
    whole, part = (np.einsum("nd,nd->n", side, side, dtype=np.float64) for side in (rows_ND, strong))
    rest = np.sqrt(np.maximum(whole - part, 0.0))
    return np.concatenate([strong, rest[:, None].astype(np.float32)], axis=1)


@dataclass(frozen=True)
class _GreedySelection:
    """What is known on the way: for each row which kept row rules it out, and how similar it is."""

    rows: Float32s
    sketch: Float32s
    tau: float
    blocker: Indices
    likeness: Float32s

    def staying(self, block: Indices) -> Indices:
        """Rows of a block that nothing rules out yet."""
        return block[self.blocker[block] < 0]

    def against(self, block: Indices, chosen: Indices, chosen_sketch: Float32s) -> None:
        """Note which rows of the block are too much like a kept one."""
        if not len(block):
            return
        near, other = np.nonzero(self.sketch[block] @ chosen_sketch.T >= self.tau - _ROUNDING)
        if len(near) > len(block) * len(chosen) // 16:  # the sketch tells too little here: the whole product is cheaper
            similar = self.rows[block] @ self.rows[chosen].T
            near, other = np.arange(len(block)), similar.argmax(1)
            self.note(block, chosen[other], similar[near, other])
            return
        for low in range(0, len(near), _CHUNK):
            mine, theirs = block[near[low : low + _CHUNK]], chosen[other[low : low + _CHUNK]]
            self.note(mine, theirs, np.einsum("nd,nd->n", self.rows[mine], self.rows[theirs]))

    def within(self, block: Indices) -> None:
        """The same among the rows of a block, in order: only a row that stays can rule a later one out."""
        if not len(block):
            return
        similar = self.rows[block] @ self.rows[block].T
        pairs = np.triu(similar >= self.tau - _EXACT, 1)
        for at in np.nonzero(pairs.any(1))[0]:
            if self.blocker[block[at]] < 0:
                later = np.nonzero(pairs[at])[0]
                self.note(block[later], np.full(len(later), block[at]), similar[at, later])

    def note(self, rows: Indices, others: Indices, exact: Float32s) -> None:
        """Keep the strongest pair of each row among pairs that are too much alike."""
        order = np.argsort(exact, kind="stable")  # the largest is written last
        order = order[exact[order] >= self.tau - _EXACT]
        rows, others, exact = rows[order], others[order], exact[order]
        better = exact > np.where(self.blocker[rows] < 0, -np.inf, self.likeness[rows])
        self.blocker[rows[better]], self.likeness[rows[better]] = others[better], exact[better]
