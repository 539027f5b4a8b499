"""What a run of several processes is trained on is what the chapter about reductions says in one (RED-13, RED-14)."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from rlspec.reference.reductions import sharded_loss

RANK = Path(__file__).with_name("ranks.py")
VALUES = [[6, 6, 6, 0], [12, 0, 0, 0], [2, 5, 0, 0], [1, 0, 0, 0], [3, 3, 3, 3]]
LENGTHS = [3, 1, 2, 1, 4]
SHARDS = [0, 1, 0, 0, 1]
CASES = [
    ("whole", "token-mean"),
    ("whole", "mean of means"),
    ("shards", "token-mean"),
    ("rows", "token-mean"),
    ("tokens", "token-mean"),
    ("tokens", "mean of sums"),
]


def averaged_gradients(folder, asked):
    """The gradient of a weight that all values are multiplied by, for each case, as two processes have it."""
    results = [folder / str(rank) for rank in range(2)]
    commands = [[sys.executable, RANK, str(rank), "2", folder / "store", results[rank]] for rank in range(2)]
    ranks = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for command in commands]
    for process in ranks:
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    own, other = (json.loads(result.read_text()) for result in results)
    assert own == other
    return own


def test_two_processes_are_trained_on_what_one_says(tmp_path):
    mask = [[int(step < length) for step in range(4)] for length in LENGTHS]
    values = [[Fraction(x) for x in row] for row in VALUES]
    found = averaged_gradients(tmp_path, {"values": VALUES, "mask": mask, "shards": SHARDS, "cases": CASES})
    for gradient, (weighing, reduction) in zip(found, CASES, strict=True):
        expected, _ = sharded_loss(values, mask, SHARDS, 2, weighing, reduction)
        # Each of the 11 tokens is rounded at most 16 times on its way, and none of them has the other sign.
        assert abs(Fraction(gradient) - expected) <= 32 * Fraction(1, 2**53) * expected, (weighing, reduction)
