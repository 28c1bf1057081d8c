"""Run one command and write its time and memory as JSON.

`python -I -S stopwatch.py RESULT COMMAND…` writes to the file RESULT. The `ru_maxrss` of a child
is at least the memory of its parent at the start, so the parent must be small: this process uses
10 MiB.
"""

import json
import os
import sys
import time


def main(result: str, command: list[str]) -> int:
    started_s = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    took = {
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,  # Linux counts it in KiB
        "code": os.waitstatus_to_exitcode(status),
    }
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the start
        json.dump(took, file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
