"""
Fuzzing: whatever a peer sends, parse it or answer one typed error; never another exception,
never another connection harmed, whole or one byte at a time.
"""
