"""All kinds of fault."""

from . import session_kinds, system_kinds
from .registry import KINDS, choose

__all__ = ["KINDS", "choose", "session_kinds", "system_kinds"]
