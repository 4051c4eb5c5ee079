"""A back end in processes of its own, one for each device, behind the same Protocol as one in a thread."""
