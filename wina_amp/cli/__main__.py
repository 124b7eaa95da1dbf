"""`python -m wina_amp.cli`, the command `wina-amp` where the package is not installed."""

from wina_amp.cli.app import main

main()
