"""What the JSON decoder raises for bytes that are not what they should be.

Everything that comes from outside (answers, events, journals, plans, records) is decoded under
this one tuple, so that no reader forgets a way in which bytes can be bad: not JSON or of another
shape, not UTF-8, or nested so deeply that reading them would take the stack.
"""

from __future__ import annotations

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
