"""The `guerdon` command: one file per subcommand."""
