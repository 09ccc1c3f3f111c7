"""Settings that hold for every test."""

from __future__ import annotations

from hypothesis import settings

# Machines that test are busy: how long one example takes says nothing.
settings.register_profile("rollout", deadline=None, print_blob=True)
settings.load_profile("rollout")
