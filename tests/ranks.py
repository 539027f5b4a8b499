"""One rank of a real run of several processes: gradients of its rows of a batch, averaged by torch.

    python tests/ranks.py RANK WORLD_SIZE STORE RESULT

reads a batch and cases from standard input as JSON, and writes each case's averaged gradient to the file RESULT.
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel


def counts(mask):
    """Rows and tokens of a mask."""
    return torch.tensor([len(mask), mask.sum()], dtype=torch.float64)


def own_loss(model, values, mask, weighing, reduction, world_size):
    """What a rank calls backward on: its own number, in proportion to what the weighing wants."""
    here, everywhere = counts(mask), counts(mask)
    torch.distributed.all_reduce(everywhere)
    rows, tokens = everywhere if weighing == "whole" else here
    losses = model(values[..., None])[..., 0] * mask
    if reduction == "mean of means":
        losses = losses / mask.sum(dim=1, keepdim=True).clamp(min=1)
    loss = losses.sum() / (tokens if reduction == "token-mean" else rows)
    shares = world_size * here / everywhere
    return loss * {"whole": world_size, "shards": 1.0, "rows": shares[0], "tokens": shares[1]}[weighing]


def averaged_gradient(model, values, mask, case, world_size):
    """The gradient of the model's one weight, averaged by the wrapper."""
    model.zero_grad()
    own_loss(model, values, mask, *case, world_size).backward()
    return model.module.weight.grad.item()


def main(rank, world_size, store, result):
    """Take part in the run."""
    asked = json.load(sys.stdin)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    mine = torch.tensor(asked["shards"]) == rank
    model = DistributedDataParallel(torch.nn.Linear(1, 1, bias=False, dtype=torch.float64))
    batch = torch.tensor(asked["values"], dtype=torch.float64)[mine], torch.tensor(asked["mask"])[mine]
    found = [averaged_gradient(model, *batch, case, world_size) for case in asked["cases"]]
    Path(result).write_text(json.dumps(found))
    torch.distributed.barrier()  # so that nobody leaves while the other is still speaking
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
