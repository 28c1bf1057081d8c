"""The pipeline of one run.

`scope` decides which projects and lists a run covers, `discovery` reads them, `selection` decides
which entries are stale, `invitations` which entries one DELETE ends, `plan` counts, `guards` checks
the plan, `executor` and `deleting` delete and read again, `result` is the last line, and `run`
calls these steps in order. No DELETE is sent before the whole plan is on disk and has passed
the guards.
"""
