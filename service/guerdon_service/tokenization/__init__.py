"""Text to tokens: chat template, special tokens once, left truncation of the prompt."""
