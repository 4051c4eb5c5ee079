"""Token rows through a sequence-classification encoder, padded batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from guerdon_training.encode import PairTokens
from guerdon_training.side_by_side import side_by_side

R = TypeVar("R")


def collate(tokens: Sequence[PairTokens], pad_token_id: int) -> dict[str, Tensor]:
    """Right-padded int64 [B, T] tensors that a BERT-like model takes by name."""
    width = max(len(t.input_ids) for t in tokens)
    shape = (len(tokens), width)
    ids, mask, types = torch.full(shape, pad_token_id), torch.zeros(shape).long(), torch.zeros(shape).long()
    for i, row in enumerate(tokens):
        n = len(row.input_ids)
        ids[i, :n] = torch.tensor(row.input_ids)
        mask[i, :n] = 1
        types[i, row.prefix_len : n] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def by_budget(
    widths: Sequence[int], order: Sequence[int], max_batch_tokens: int, counts: Sequence[int] | None = None
) -> Iterator[list[int]]:
    """Cut `order` into runs whose padded size stays within `max_batch_tokens` (at least one item each).

    Args:
        widths: longest row of each item. counts: rows of each item; None is one each.
    """
    batch: list[int] = []
    width = rows = 0
    for i in order:
        count = 1 if counts is None else counts[i]
        if batch and max(width, widths[i]) * (rows + count) > max_batch_tokens:
            yield batch
            batch, width, rows = [], 0, 0
        batch.append(i)
        width, rows = max(width, widths[i]), rows + count
    if batch:
        yield batch


def score_rows(
    model: nn.Module, tokens: Sequence[PairTokens], pad_token_id: int, *, max_batch_tokens: int, label: str
) -> NDArray[np.float32]:
    """Raw head outputs, float32 [len(tokens), H]; the model's own dtype, evaluation mode."""
    model.eval()

    @torch.inference_mode()
    def run(rows: list[PairTokens]) -> Tensor:
        outputs: Tensor = model(**collate(rows, pad_token_id)).logits.float()
        return outputs

    scores: NDArray[np.float32] | None = None
    for batch, outputs in row_batches(run, tokens, max_batch_tokens, label):
        if scores is None:
            scores = np.empty((len(tokens), outputs.shape[1]), np.float32)
        scores[batch] = outputs.numpy()
    assert scores is not None, "no rows to score"
    return scores


def row_batches(
    run: Callable[[list[PairTokens]], R], tokens: Sequence[PairTokens], max_batch_tokens: int, label: str
) -> Iterator[tuple[list[int], R]]:
    """Rows of about one length as batches, side by side: indices into `tokens`, and what `run` gives."""
    lengths = [len(t.input_ids) for t in tokens]
    order = sorted(range(len(tokens)), key=lengths.__getitem__)
    batches = list(by_budget(lengths, order, max_batch_tokens))
    with tqdm(total=len(tokens), desc=label, unit="row", disable=None) as progress:
        found = side_by_side(lambda batch: run([tokens[i] for i in batch]), batches)
        for batch, result in zip(batches, found, strict=True):
            yield batch, result
            progress.update(len(batch))
