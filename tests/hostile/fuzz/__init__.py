"""Every RPC fuzzed from its descriptor against a server in a process of its own. See `__main__.py`."""
