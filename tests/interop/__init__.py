"""Other languages' official SDKs against Perdure: `python -m tests.interop [go] [java] [typescript]`."""
