"""Databases of earlier builds, with something of everything pending in each: the present code opens and finishes all.

`databases/format-NNN.sqlite.xz` is a database as the build that brought format NNN left it, taken while its server ran;
`format-NNN.json` says when that was and what must come of it. They are never written again: once a release is out, its
files are what its users have.

**When the format changes** (a script is added to `storage/sqlite/migrations`), the suite asks for a database of the new
one. Add to `make.py` what the new format can hold, and to `stories.py` the workflows that this takes (those that are
there already must stay as they are: the workers that finish the old databases replay them), then run

    python -m tests.upgrade.make

which drives a server with SDK workers into that state, and commit both files.
"""
