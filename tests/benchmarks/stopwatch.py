"""Run one command and write its time and memory as JSON: `stopwatch.py RESULT COMMAND…`.

The `ru_maxrss` of a child is at least the memory of its parent at the start, so the parent must be
small.
"""

import json
import os
import sys
import time

if __name__ == "__main__":
    result, *command = sys.argv[1:]
    started_s = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    took = {
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,  # Linux counts it in KiB
    }
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the start
        json.dump(took, file)
    sys.exit(os.waitstatus_to_exitcode(status))
