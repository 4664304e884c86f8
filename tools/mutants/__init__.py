"""The tests are tested: deliberate faults, each of which must make a test fail.

    python -m tools.mutants                  all of them, a table at the end; fails when one survives
    python -m tools.mutants barrier stale    those with these words in their name, file or area
    python -m tools.mutants --list           what there is

A fault (`fault.py`) is a sentence, a replacement in one of our files, and the tests that should notice. `faults/` holds
them by area. A replacement whose old text is not in the code exactly once does not fit any more; `tests/architecture`
says so at once, so that whoever moves code moves the fault with it.

Each fault is made in a copy of `src`, never in the checkout (`workbench.py`), and its tests are run on that copy by a
pytest of its own. A survivor is a hole in the tests: write the test that is missing, or, when the change turns out to
be none, another fault.
"""
