"""Schedules: when workflows start by themselves (`spec`), and the execution that starts them (`schedule`).

The first half is arithmetic: `texts` reads cron strings and calendar strings, `canonical` brings a specification into
its one stored form, `spec` finds the next time of one. The second half decides, as the rest of the engine does.
"""
