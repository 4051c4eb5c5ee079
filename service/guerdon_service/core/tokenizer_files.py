"""Whether a folder holds a tokenizer at all."""

from pathlib import Path

from guerdon_service.core.errors import InvalidInput

_VOCABULARIES = ("tokenizer.json", "*.model", "*vocab*.json", "*vocab*.txt", "tekken.json")
"""Names of the files that hold one, by every tokenizer of transformers."""


def check_tokenizer(folder: Path, param: str) -> None:
    """Refuse a folder without a vocabulary, of which transformers makes a tokenizer that knows no word.

    Raises:
        InvalidInput: it holds none; `param` is what it is called by.
    """
    if not any(next(folder.glob(name), None) for name in _VOCABULARIES):
        raise InvalidInput(
            f"{folder.name} has no tokenizer: neither tokenizer.json nor another vocabulary "
            "(tokenizer.model, vocab.json, vocab.txt); put there what tokenizer.save_pretrained writes",
            param=param,
        )
