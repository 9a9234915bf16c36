"""One privacy verb a file: a pure function on Arrow data, and the PTransform that applies it."""
