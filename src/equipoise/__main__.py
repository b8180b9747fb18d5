"""``python -m equipoise``: the same as the command."""

from equipoise.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
