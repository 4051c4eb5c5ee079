"""The `tokenizers` tokenizer of an artifact, exactly as `transformers` builds it, and no remote code."""

import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.tokenizer_files import check_tokenizer


def load_tokenizer(artifact: Artifact) -> PreTrainedTokenizerFast:
    """Load from the artifact's folder where it holds `tokenizer.json`, else from the base's.

    `AutoTokenizer` is the reference, so it chooses the class. `auto_map` is never followed. Padding and
    truncation that `tokenizer.json` may carry are switched off for good: they are state, and callers
    share the tokenizer between threads.

    Raises:
        InvalidInput: no tokenizer there, one that needs remote code or knows more tokens than the model, or
            one without a fast back end.
    """
    own = (artifact.folder / "tokenizer.json").is_file()
    folder = artifact.folder if own else artifact.base_folder
    check_tokenizer(folder, "tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as err:  # transformers raises whatever the files provoke: OSError to IndexError
        raise InvalidInput(
            f"model {artifact.manifest.name}: its tokenizer cannot be loaded without remote code "
            f"({type(err).__name__}: {err}); add a tokenizer.json that tokenizer.save_pretrained wrote",
            param="tokenizer",
        ) from err
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InvalidInput(
            f"model {artifact.manifest.name}: {type(tokenizer).__name__} has no fast tokenizer; "
            "convert it to a tokenizer.json",
            param="tokenizer",
        )
    _check_ids(tokenizer, artifact)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return tokenizer


def _check_ids(tokenizer: PreTrainedTokenizerFast, artifact: Artifact) -> None:
    """Every id that a text can give must have its row: on CUDA one without would end the process."""
    highest, rows = max(tokenizer.get_vocab().values(), default=0), _num_rows(artifact.base_folder)
    if rows is not None and highest >= rows:
        raise InvalidInput(
            f"model {artifact.manifest.name} has {rows} rows of embeddings, but its tokenizer gives ids up "
            f"to {highest}; give the tokenizer that it was trained with",
            param="tokenizer",
        )


def _num_rows(folder: Path) -> int | None:
    """`vocab_size` of a model's configuration; None where that does not say."""
    path = folder / "config.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        rows = data.get("vocab_size", data.get("text_config", {}).get("vocab_size"))
    except (ValueError, AttributeError):  # the back end refuses it, and says why
        return None
    return rows if isinstance(rows, int) else None
