"""The checks of `doctor` for the files and receivers that options and policy name."""

from collections.abc import AsyncIterator, Iterator, Mapping

from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.run_setup import CommandContext
from invite_sweeper.cli.sweep_session import check_outputs
from invite_sweeper.doctor.diagnosis import Check, failed, ok, warning
from invite_sweeper.doctor.outputs import metrics_check, output_check
from invite_sweeper.errors import RunError
from invite_sweeper.policy import Notification
from invite_sweeper.redaction import SECRETS
from invite_sweeper.report.metrics import check_gateway_url
from invite_sweeper.report.webhooks import (
    NOTIFICATION_LIMIT_S,
    find_problem,
    open_session,
    reach,
    register_secrets,
)


def file_checks(context: CommandContext) -> Iterator[Check]:
    """Check each file beside the audit log that a sweep opens; none is written."""
    options = context.options
    try:
        check_outputs(context)
    except RunError as error:
        yield failed("outputs", error)
    if options.out is not None:
        yield output_check("plan", options.out)
    if options.metrics_file is not None:
        yield metrics_check(options.metrics_file)


async def receiver_checks(
    channels: tuple[Notification, ...], options: RunOptions, environment: Mapping[str, str]
) -> AsyncIterator[Check]:
    """Check that each receiver can be reached; none gets a message."""
    register_secrets(channels, environment)
    async with open_session(NOTIFICATION_LIMIT_S) as session:
        for channel in channels:
            name = f"{channel.kind} ({channel.url_env})"
            problem, fix = await find_problem(session, channel, environment)
            if problem:
                yield warning(name, f"Would not be notified: {problem}", fix)
            else:
                yield ok(name, "Its host can be reached. No message was sent.")
        if (gateway := options.pushgateway) is not None:
            name = "pushgateway"
            SECRETS.add_user_info(gateway)
            try:
                check_gateway_url(gateway)
            except RunError as error:
                yield failed(name, error)
                return
            failure = await reach(session, gateway)
            if failure is not None:
                message = f"Would not get the metrics: {failure.host}: {failure.reason}."
                yield warning(name, message, failure.fix)
            else:
                yield ok(name, "Its host can be reached. Nothing was pushed.")
