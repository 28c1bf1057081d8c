"""The pipeline of one run.

`run` is the sweep on one page and calls the others in this order:

1. `discovery` reads the lists that `scope` names; of the result, `reading` makes a `Reading`.
   In it, `selection` decides which entries are stale, by the `conditions` of the policy's keys,
   `invitations` which of them one DELETE ends, and `steps` what else is kept.
2. `plan` applies the limits. The whole plan is on disk before it is checked.
3. `guards` and `population` check the plan.
4. `executor` deletes, and `breaker` stops it where deletions keep failing.

`result` is the last line of the run's file.
"""
