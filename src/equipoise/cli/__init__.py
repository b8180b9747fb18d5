"""Commands: one file each; they parse and delegate."""
