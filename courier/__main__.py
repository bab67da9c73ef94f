"""``python -m courier``."""

from courier.cli import main

main()
