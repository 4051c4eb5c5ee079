"""What the policy recipes (SFT, DPO, PPO) share: bases, encoding, packed rows, log-probabilities, the loop.

Vocabulary: an example is one conversation whose response is learnt; a row holds several examples end to end,
``[1, T]``, none of which attends to another; a batch is what goes through the model at once (one row); a step
is one update, made of batches. T tokens, R targets (tokens whose log-probability counts), S examples.
"""
