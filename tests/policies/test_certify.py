"""A policy whose decoding would be wrong is refused before it answers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from guerdon_service.artifacts.policy import read_policy
from guerdon_service.core.errors import InvalidInput
from guerdon_service.policies import shared_attention
from guerdon_service.policies.causal_lm import load_causal_lm
from guerdon_service.policies.certify import check_decoding
from tests.tiny import DECODERS, tiny


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("arch", DECODERS)
def test_every_tested_family_passes(arch: str, dtype: torch.dtype) -> None:
    shared_attention.register_shared_attention()
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(tiny(arch))
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation=shared_attention.SHARED)
    check_decoding(model.to(dtype).eval(), [0])
    assert model.config._attn_implementation == shared_attention.SHARED


@pytest.mark.parametrize("fault", ["other logits", "does not run"])
def test_wrong_decoding_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    joined = shared_attention._joined

    def broken(query: Any, key: Any, value: Any, prompt_key: Any, prompt_value: Any, softcap: Any) -> Any:
        if fault == "does not run":
            raise TypeError
        return joined(query, key, value, prompt_key[:, :-1], prompt_value[:, :-1], softcap)

    monkeypatch.setattr(shared_attention, "_joined", broken)
    with pytest.raises(InvalidInput, match=fault):
        load_causal_lm(read_policy(str(folder)), "float32", "cpu")
