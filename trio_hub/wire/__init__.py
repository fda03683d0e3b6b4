"""
The wire: bytes to records and back. Frames, the codec, and the table of operations.

Nothing above this layer sees a frame as a dict; nothing below it sees bytes.
"""
