"""Proof before progress: what is measured, how it is judged, and the kinds of gates."""
