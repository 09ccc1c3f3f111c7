"""Carries a plan out: the pure engine decides, one loop talks."""
