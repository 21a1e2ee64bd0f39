"""Settings of all tests: how hard hypothesis tries (`HYPOTHESIS_PROFILE=deep` for an hour of it)."""

from __future__ import annotations

import os

from hypothesis import settings

# no deadline: a busy machine is not a bug
settings.register_profile("fast", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
