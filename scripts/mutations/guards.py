"""All guards that make a rollout safe, each with the change that takes it away and its killers."""

from __future__ import annotations

from typing import Final

from scripts.mutations.documents import DOCUMENTS
from scripts.mutations.guard import Guard
from scripts.mutations.locks import LOCKS
from scripts.mutations.plans import PLANS
from scripts.mutations.sights import SIGHTS
from scripts.mutations.starts import STARTS
from scripts.mutations.verdicts import VERDICTS
from scripts.mutations.writes import WRITES

GUARDS: Final[tuple[Guard, ...]] = (
    *(*WRITES, *LOCKS, *SIGHTS, *STARTS, *VERDICTS),
    *(*DOCUMENTS, *PLANS),
)
