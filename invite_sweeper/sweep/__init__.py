"""The pipeline of one run.

`scope` decides which projects and lists a run covers, `discovery` lists their invitations,
`selection` decides which of them are stale, `plan` writes the decisions to the audit log,
`guards` checks the plan against the limits, `executor` deletes, `summary` counts, and `run`
calls these steps in order. No DELETE is sent before the whole plan is on disk and has passed
the guards.
"""
