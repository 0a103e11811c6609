"""An independent verifier of Tallyroot elections, written from specs/protocol.md alone.

It shares no code with the project's own programs: what both accept, two readers of the page have accepted.
"""
