"""What people want to do, over HTTP against everything in one running Guilder."""
