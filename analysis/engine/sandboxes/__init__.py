"""Sandboxes: what a task runs in. One start per task, nothing left behind, and errors that cross the border."""
