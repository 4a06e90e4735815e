"""`python -m service` is `butie`."""

import gc


def main() -> None:
    # Imports make hundreds of thousands of objects, and all of them stay. Collecting garbage among
    # them takes a quarter of a command's start.
    gc.disable()
    try:
        from service.cli import app
    except KeyboardInterrupt:
        raise SystemExit("Stopped.") from None
    gc.freeze()
    gc.enable()
    app()


if __name__ == "__main__":
    main()
