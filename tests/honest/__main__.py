"""The command line: ``python -m tests.honest --count 2000 --seed 7``."""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from time import perf_counter

from . import WAYS, Trial, draw, trial


def judged(seed: int, examples: int, operations: str, number: int) -> tuple[str, Trial] | None:
    """One candidate's recipe and its trial; None if it has none of the operations asked for."""
    honest = draw(seed, number)
    if operations and not set(operations.split(",")) & set(honest.operations):
        return None
    return str(honest), trial(honest, examples, seed * 1_000_003 + number)


def main() -> int:
    """Draw candidates, judge them, and print every flag with the recipe; 1 if there is any."""
    parser = argparse.ArgumentParser(prog="python -m tests.honest", description=main.__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many candidates to draw")
    parser.add_argument("--seed", type=int, default=7, help="what they and their examples depend on")
    parser.add_argument("--examples", type=int, default=18, help="how many each property draws for a candidate")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes judge them")
    parser.add_argument("--only", type=int, help="judge the candidate of this number alone")
    parser.add_argument("-k", dest="operations", default="", help="judge only candidates with one of these operations")
    arguments = parser.parse_args()
    numbers = range(arguments.count) if arguments.only is None else [arguments.only]
    one, begun = partial(judged, arguments.seed, arguments.examples, arguments.operations), perf_counter()
    candidates = examples = flags = 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for done in as_completed([pool.submit(one, number) for number in numbers]):
            if (answer := done.result()) is None:
                continue
            recipe, said = answer
            candidates, examples, flags = candidates + 1, examples + said.judged, flags + len(said.flags)
            if sys.stderr.isatty():
                print(f"\r{candidates} candidates, {examples} examples", end="", file=sys.stderr, flush=True)
            if said.flags or arguments.only is not None:
                print(recipe, *(f"  flagged by {flag}" for flag in said.flags), sep="\n", flush=True)
    print(
        f"{candidates} candidates of seed {arguments.seed} for {len(WAYS)} operations, {examples} examples judged, "
        f"{flags} flags, {perf_counter() - begun:.0f} s"
    )
    return int(flags > 0)


if __name__ == "__main__":
    raise SystemExit(main())
