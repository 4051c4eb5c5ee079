"""Token rows through a sequence-classification encoder, padded batch by batch."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from guerdon_training.encode import PairTokens


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


@torch.inference_mode()
def score_rows(
    model: nn.Module, tokens: Sequence[PairTokens], pad_token_id: int, *, max_batch_tokens: int, label: str
) -> NDArray[np.float32]:
    """Raw head outputs, float32 [len(tokens), H]; the model's own dtype, evaluation mode."""
    model.eval()
    lengths = [len(t.input_ids) for t in tokens]
    order = sorted(range(len(tokens)), key=lengths.__getitem__)
    scores: NDArray[np.float32] | None = None
    with tqdm(total=len(tokens), desc=label, unit="row") as progress:
        for batch in by_budget(lengths, order, max_batch_tokens):
            out = model(**collate([tokens[i] for i in batch], pad_token_id)).logits.float().numpy()
            if scores is None:
                scores = np.empty((len(tokens), out.shape[1]), np.float32)
            scores[batch] = out
            progress.update(len(batch))
    assert scores is not None, "no rows to score"
    return scores
