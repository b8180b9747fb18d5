"""What is kept on disk: readable, versioned, written atomically."""
