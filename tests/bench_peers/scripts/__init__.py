"""Programs of the peers' own environments: what a user would write there, and the models that all serve."""
