"""Completion of tasks, parameters and values on the command line."""
