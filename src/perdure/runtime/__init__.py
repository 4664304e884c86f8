"""The imperative shell: load, decide, commit, then carry out effects. All concurrency lives here, on one event loop.

`runtime.Runtime` is the door. `executions` holds what is loaded, `committer` turns decisions into batches and answers
into replies behind the barrier, `dispatch` connects offered tasks to pollers, `mail` carries messages between
executions, `wakes` is the timer loop, `queries` and `histories` are the reads that need a worker or stored events.
"""
