"""The corpus: the inputs that a run replays, a file for each chapter, as ``python -m rlspec.corpus`` chooses them."""
