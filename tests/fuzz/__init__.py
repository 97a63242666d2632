"""Random and mutated input for everything that decodes what others have made.

    python -m tests.fuzz --count 1000000 --seed 7

No exception escapes but the one that a decoder is documented to raise, and nothing changes state
without authority. A failure prints its target and the bytes; the same seed makes it again.
"""
