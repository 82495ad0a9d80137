"""Deterministic simulation: the real handlers, injected faults, one seed that replays everything."""
