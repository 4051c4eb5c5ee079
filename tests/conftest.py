"""What every test shares: quiet libraries, no hub, and generated examples without a clock."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from hypothesis import settings

settings.register_profile("guerdon", deadline=None)
settings.load_profile("guerdon")
