"""Best-of-n: sample with a policy, score with a served model, choose."""
