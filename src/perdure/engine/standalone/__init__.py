"""Standalone activities: activities that no workflow schedules, each an execution of its own (reference: advanced 7).

An attempt is what it is to a workflow's activity: the same record of it, the same retries, timeouts and options. What
differs is around it: who starts it, what becomes of its outcome, and that its history is its state.
"""
