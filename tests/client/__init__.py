"""Tests of the client, against a scripted peer and against the hub."""
