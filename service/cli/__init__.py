"""The command line: `butie`. One module for each group of commands."""
