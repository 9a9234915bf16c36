"""How it runs: options, sources and sinks, one module a command."""
