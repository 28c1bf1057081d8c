"""The pipeline of one run.

`scope` decides which projects and lists a run covers, `discovery` reads them, `selection` decides
which entries are stale, `invitations` which entries one DELETE ends, `steps` what else keeps one,
`plan` counts, `guards` checks the plan, `executor` deletes and reads again, `result` is the last
line, and `run` calls these in order. No DELETE is sent before the whole plan is on disk and has
passed the guards.
"""
