"""`python -m service` is `butie`."""

from service.cli import main

main()
