"""`sweep` and `plan` from lock to result: one run for each credential that the policy names."""

import os
import shlex
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from invite_sweeper.atlas import Credentials, parse_base_url
from invite_sweeper.audit import AuditLock, AuditTarget
from invite_sweeper.cli import afterwards, messages, plan_files, telling, trouble
from invite_sweeper.cli.clashes import others_of, raise_if_same, raise_if_taken_for_log
from invite_sweeper.cli.dividing import with_credentials
from invite_sweeper.cli.facts import RunContext
from invite_sweeper.cli.loop import event_loop
from invite_sweeper.cli.one_run import OneRun, Told, run_id_at
from invite_sweeper.cli.order import RunOptions
from invite_sweeper.cli.signals import heard_as
from invite_sweeper.errors import RunError, UsageFault
from invite_sweeper.policy import Policy, loader
from invite_sweeper.shard import Shard
from invite_sweeper.stop import Stop
from invite_sweeper.totals import merge_summaries


def execute(options: RunOptions, environment: Mapping[str, str] = os.environ) -> int:
    """Carry out one `sweep` or `plan`, show its result, and give the exit code.

    Raises:
        RunError: It did not come to a run: usage, policy, lock, audit log, plan.
    """
    return event_loop(_Session(options, environment).run())


class _Session:
    """What all runs of one command share: policy, environment, lock, signals."""

    def __init__(self, options: RunOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment
        self._started_s = time.monotonic()
        self._now = datetime.now(UTC)
        self._policy = loader.read(options.policy, deadline=options.deadline)
        _check_accept_policy(options, self._policy)
        self._base_url = parse_base_url(options.base_url)
        self._parts = self._divide()
        self._target = AuditTarget.chosen(options.audit_log, self._policy.audit.path)
        outputs = {"--out": options.out, "--metrics-file": options.metrics_file}
        raise_if_same(outputs, others_of(options, self._target, self._now))
        raise_if_taken_for_log(outputs, self._target)
        index = environment.get("JOB_COMPLETION_INDEX")
        self._shard = (
            Shard.parse(options.shard, completion_index=index)
            if options.shard is not None
            else None
        )
        self._log = messages.configure(
            quiet=options.quiet or options.quiet_progress, verbose=options.verbose
        )
        self._stop = Stop()

    async def run(self) -> int:
        """Carry out each run while the lock is held, and tell what came of them.

        Raises:
            RunError: It did not come to a run.
        """
        with (
            AuditLock(self._target.lock_path, now=self._now, command=shlex.join(sys.argv)),
            heard_as(self._stop, self._log),
        ):
            if self._options.out is not None:
                plan_files.try_place(self._options.out)
            self._warn(await afterwards.begin(self._policy.notify, self._environment))
            for warning in self._policy.warnings(self._now.date()):
                self._log.warning(warning)
            told = [await self._one(part) for part in self._parts]
            self._warn(tuple(trouble.by_name(self._options, told)))
            code = telling.tell_all(self._options, told)
            await self._announce(told, code)
        return code

    async def _one(self, part: tuple[Policy, Credentials]) -> Told:
        policy, credentials = part
        context = RunContext(
            options=self._options,
            policy=policy,
            now=self._now,
            run_id=run_id_at(self._now),
            base_url=self._base_url,
            credentials=credentials,
            shard=self._shard,
            target=self._target,
            started_s=self._started_s,
        )
        try:
            return await OneRun(context, self._stop, self._log).run()
        except RunError as error:
            if len(self._parts) == 1:
                raise
            return Told(None, error)

    def _divide(self) -> tuple[tuple[Policy, Credentials], ...]:
        """Give each credential its organizations; all of them are there before Atlas is called.

        Raises:
            UsageFault: Credentials are missing, or one saved plan is to serve several.
        """
        parts = with_credentials(self._policy, self._environment)
        if len(parts) > 1 and (self._options.out or self._options.plan):
            raise UsageFault(
                "A saved plan belongs to one credential, and the policy names several.",
                hint="Write a policy for each.",
            )
        return parts

    async def _announce(self, told: list[Told], code: int) -> None:
        summaries = [each.ended.summary for each in told if each.ended is not None]
        if not summaries:
            return
        self._warn(
            await afterwards.end(
                self._policy.notify,
                self._environment,
                merge_summaries(summaries, code),
                metrics_file=self._options.metrics_file,
                pushgateway=self._options.pushgateway,
            )
        )

    def _warn(self, sentences: tuple[str, ...]) -> None:
        for sentence in sentences:
            self._log.warning(sentence)


def _check_accept_policy(options: RunOptions, policy: Policy) -> None:
    """Check that `--accept-policy` has a quarantine to lift.

    Raises:
        UsageFault: The policy sets none.
    """
    if options.accept_policy is not None and not policy.limits.quarantine:
        raise UsageFault(
            "--accept-policy lifts a quarantine, and the policy sets none.",
            hint="Leave it out, or write limits: {quarantine: true}.",
        )
