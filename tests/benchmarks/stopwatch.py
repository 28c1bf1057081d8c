"""Runs one command and notes what it took: a process of its own, small and without imports.

`python -I -S stopwatch.py NOTE COMMAND…` writes a JSON object to the file NOTE. A child's
`ru_maxrss` is never below what its parent held when it was started, so whoever starts the
command has to be small: this one holds 10 MiB.
"""

import json
import os
import sys
import time


def main(note: str, command: list[str]) -> int:
    started_s = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    took = {
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,  # Linux counts it in KiB
        "code": os.waitstatus_to_exitcode(status),
    }
    with open(note, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the start
        json.dump(took, file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
