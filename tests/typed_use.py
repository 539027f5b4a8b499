"""What somebody's code does with the public names; mypy says whether the types are those."""

from typing import assert_type

import rlspec
import rlspec.testing


def typed_use() -> None:
    """What somebody's code does with the names; mypy says whether the types are those."""
    result = rlspec.check({"gae": max}, operations=["gae"], clauses="ADV", replay="v.json")
    assert_type(result, rlspec.Result)
    assert_type(rlspec.check_function(max, "gae", axes="T B"), rlspec.Result)
    assert_type(result.holds, bool)
    assert_type(result.verdicts, dict[str, str])
    assert_type(result.mistakes, list[rlspec.Mistake])
    assert_type(result.mistakes[0].clauses, list[str])
    assert_type(result.to_json(), str)
    rlspec.check(max, clause="ADV-3")  # type: ignore[call-arg]
    rlspec.testing.formulas("gae")  # type: ignore[call-arg]
