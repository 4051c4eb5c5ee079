"""Substance against style, for data that crosses them."""

from collections import defaultdict

import numpy as np

from guerdon_service.evaluation.correctness import style_cells
from guerdon_service.evaluation.report import StyleReport
from guerdon_service.evaluation.table import Floats, ItemTable


def measure_style(table: ItemTable, rewards: Floats) -> StyleReport | None:
    """None where the data holds no style matrix, or matrices of several sizes."""
    items = np.flatnonzero(table.styles[table.offsets[:-1]] >= 0)
    if not len(items) or len(np.unique(table.sizes[items])) > 1:
        return None
    cells = np.stack([style_cells(table, rewards, int(i)) for i in items])
    matrix = cells.mean(axis=0)
    size = len(matrix)
    above, below = np.triu_indices(size, 1), np.tril_indices(size, -1)
    return StyleReport(
        num_items=len(items),
        matrix=tuple(tuple(float(v) for v in row) for row in matrix),
        easy=float(matrix[below].mean()),
        normal=float(np.diag(matrix).mean()),
        hard=float(matrix[above].mean()),
        overall=_overall(table, dict(zip(items.tolist(), cells.mean(axis=(1, 2)).tolist(), strict=True))),
    )


def _overall(table: ItemTable, means: dict[int, float]) -> float:
    """Mean of domains; a subdomain is what follows the first ``-`` of its name."""
    domains: dict[str, list[float]] = defaultdict(list)
    for key, rows in table.slices.items():
        mine = [means[i] for i in rows.tolist() if i in means]
        if key.kind == "subset" and mine:
            domains[key.name.split("-")[0]].append(sum(mine) / len(mine))
    return float(np.mean([np.mean(values) for values in domains.values()]))
