"""`python -m service` is `butie`."""

import gc


def main() -> None:
    # Loading makes objects by the hundred thousand, and all of them stay: looking among them for
    # garbage, again and again, is a quarter of a command's start.
    gc.disable()
    from service.cli import app

    gc.freeze()
    gc.enable()
    app()


if __name__ == "__main__":
    main()
