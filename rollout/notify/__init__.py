"""Tells people and programs elsewhere how a run goes: the sinks of `spec.notify`."""
