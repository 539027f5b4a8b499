"""Small right adapters, as the text of a file, for tests that change a line of them."""

REWARD_TO_GO = """
import numpy as np

def reward_to_go(rewards, gamma):
    following, returns = 0.0, []
    for reward in rewards.T[::-1]:
        following = reward + gamma * following
        returns.append(following)
    return np.stack(returns[::-1], axis=1)
"""

TD_ERROR = """
def td_error(rewards, values, next_values, terminated, gamma):
    return rewards + gamma * np.where(terminated, 0, next_values) - values
"""

HONEST = REWARD_TO_GO + TD_ERROR
