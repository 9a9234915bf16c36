"""The same work as people would do it with other tools, so that its speed and its output can be compared."""
