"""Allow `python -m bcseg`."""

from bcseg.cli import main

main()
