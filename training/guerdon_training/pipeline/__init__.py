"""From data to published policies in one command: stages that are skipped once they are done."""
