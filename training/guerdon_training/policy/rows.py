"""Examples packed end to end into rows, so that no position is padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon_training.policy.encode import Example


@dataclass(frozen=True, slots=True)
class Row:
    """S examples in one row. Positions restart at 0 in each, which is what keeps their attention apart.

    input_ids, position_ids: int64 [1, T].
    predictors: int64 [R], positions whose next token is a target.
    targets: int64 [R], ids of those next tokens.
    owners: int64 [R], which example (0 to S - 1) a target belongs to.
    num_examples: S.
    """

    input_ids: Tensor
    position_ids: Tensor
    predictors: Tensor
    targets: Tensor
    owners: Tensor
    num_examples: int

    @property
    def num_targets(self) -> int:
        """R."""
        return len(self.targets)

    @property
    def ends(self) -> Tensor:
        """int64 [S], the position of each example's last token."""
        return (self.position_ids[0].roll(-1) == 0).nonzero().squeeze(1)

    def to(self, device: torch.device) -> "Row":
        """The same row on another device."""
        return Row(
            self.input_ids.to(device),
            self.position_ids.to(device),
            self.predictors.to(device),
            self.targets.to(device),
            self.owners.to(device),
            self.num_examples,
        )


def pack(examples: Sequence[Example]) -> Row:
    """All of `examples` as one row, in their order."""
    ids = [i for e in examples for i in e.input_ids]
    is_target = [t for e in examples for t in (False, *e.is_target[1:])]
    places = [p for p, flag in enumerate(is_target) if flag]
    owners = [k for k, e in enumerate(examples) for _ in e.input_ids]
    return Row(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([[p for e in examples for p in range(len(e.input_ids))]]),
        predictors=torch.tensor([p - 1 for p in places], dtype=torch.long),
        targets=torch.tensor([ids[p] for p in places], dtype=torch.long),
        owners=torch.tensor([owners[p] for p in places], dtype=torch.long),
        num_examples=len(examples),
    )


def fill(lengths: Sequence[int], max_row_tokens: int) -> list[list[int]]:
    """Indices of items by row: first fit, longest first (Johnson, 1973), within 11/9 of the fewest rows.

    An item longer than `max_row_tokens` has a row of its own. Within a row the order is that of `lengths`.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for item in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        place = next((r for r, free in enumerate(room) if free >= lengths[item]), len(rows))
        if place == len(rows):
            rows.append([])
            room.append(max_row_tokens)
        rows[place].append(item)
        room[place] -= lengths[item]
    return [sorted(row) for row in rows]
