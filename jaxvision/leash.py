"""Run a command that ends with whoever started it, however that one ends.

    python -m jaxvision.leash -- python -m experiments he_init

A process whose starter is killed runs on: it would hold its work directory, and a second try of the
same run would meet it. This one reads its standard input, a pipe that the starter holds open and
writes nothing to. The pipe's end is the starter's end, and the command is killed.
"""

import os
import subprocess
import sys
import threading

from jaxvision.terminal import shell_code


def main(arguments: list[str]) -> int:
    """Run the command behind ``--``; return its exit code as a shell would give it."""
    if arguments[:1] != ["--"] or len(arguments) < 2:
        print("usage: python -m jaxvision.leash -- COMMAND ...", file=sys.stderr)
        return 2
    try:
        process = subprocess.Popen(arguments[1:], stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"error: cannot start {arguments[1]}: {error.strerror}", file=sys.stderr)
        return 2
    threading.Thread(target=_kill_at_the_end, args=(process,), daemon=True).start()
    return shell_code(process.wait())


def _kill_at_the_end(process: subprocess.Popen) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    process.kill()  # files are made to bear it at any moment


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
