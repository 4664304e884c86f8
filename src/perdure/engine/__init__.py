"""The engine decides: state and one input in, events, new state and effects out.

Nothing here does I/O, reads a clock, draws a random number or logs: time, IDs, jitter and limits are arguments. Read in
this order: `state.py` and `items.py` (what a run is), `turn.py` (how one input is decided), `apply.py` (the only writer
of history-made state), then a module for each concept: `start`, `workflow_tasks`, `commands`, `activities`, `timers`,
`children`, `externals`, `signals`, `closing`, `chains`, `waking`.
"""
