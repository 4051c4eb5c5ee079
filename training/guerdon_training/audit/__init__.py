"""What is in a preference data set, and what is wrong with it, before any step is trained on it."""
