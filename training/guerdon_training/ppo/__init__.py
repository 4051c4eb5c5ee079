"""Proximal policy optimisation and RLOO of a language model against a reward: read `recipe` first.

Shapes: B episodes (one response each), P prompt positions (padded on the left), R response positions (padded
on the right), V tokens in the vocabulary. Masks are float32 [B, R]: 1 on the tokens that were sampled, the
EOS included, 0 after them. Sources: Schulman et al. (arXiv 1707.06347); Ziegler et al. (arXiv 1909.08593);
Huang et al. (arXiv 2403.17031, "N+"); Ahmadian et al. (arXiv 2402.14740, RLOO).
"""
