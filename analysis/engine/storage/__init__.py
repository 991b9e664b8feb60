"""Where outputs live: on a local disk, on a remote server, or on both."""
