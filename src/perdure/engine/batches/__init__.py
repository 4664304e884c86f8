"""Batch jobs: one operation on many executions, a few at a time.

`jobs.py` is the job, an execution of its own kind; `operations.py` what it does to each target; `reset_points.py` finds
where a target is to be reset to.
"""
