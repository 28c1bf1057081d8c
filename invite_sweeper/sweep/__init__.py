"""The pipeline of one run.

`command` is what it is to do. `run` is the sweep on one page and calls the others in this order:

1. `discovery` reads the organizations. `reading` reads one whole, by its `scope`; of that value,
   `deciding` makes every decision: `selection` by the `conditions` of the policy's keys,
   `invitations` which entries one DELETE ends, and `steps` what else is kept.
2. `plan` applies the limits. The whole plan is on disk before it is checked.
3. `guards` check the plan.
4. `executor` deletes, and stops where deletions keep failing.

`result` is the last line of the run's file.
"""
