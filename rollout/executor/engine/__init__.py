"""The engine: decides what to do next. Pure: no clock, no file, no socket."""
