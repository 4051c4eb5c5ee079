"""Other servers' wire shapes over the one domain layer: one file per dialect, off unless settings name it."""
