"""Rollouts: actions drawn from a policy, with deletions."""
