"""Telemetry and ledgers that look like a fleet's, made from a seed; nothing in them is about anybody."""
