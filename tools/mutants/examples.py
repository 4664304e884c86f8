"""A plugin for the pytest of a fault: tests that make up their examples make up the same ones each time, and do not
look for the smallest that fails."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("mutants", derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))
settings.load_profile("mutants")
