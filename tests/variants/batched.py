"""The formulas at the size of real batches, as they answer small ones."""

from rlspec import batched

from .registry import variant

for _name in ("discounted_return", "reward_to_go", "lambda_return", "td_error", "gae", "vtrace", "token_returns",
              "token_gae", "token_logp"):  # fmt: skip
    variant("at the size of real batches", quick=True)(getattr(batched, _name))
