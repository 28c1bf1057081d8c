"""Tells others how a run went: Slack-compatible webhooks, signed webhooks, dead-man pings.

Trouble here never changes what the run came to: it is returned as a sentence for the log, and
no sentence repeats an address or a key.
"""

import asyncio
from collections.abc import Mapping, Sequence

import aiohttp

from invite_sweeper.policy import Notification
from invite_sweeper.report.messages import NotSent, compose, wants
from invite_sweeper.totals import RunSummary

TIMEOUT_S = 10.0

_REDIRECT = 300
"""From here on an answer is no success; a redirect is not followed, it may lead anywhere."""


async def announce_start(
    channels: Sequence[Notification], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Tell the ping channels that a run begins.

    Returns:
        What went wrong, a sentence each; empty when all were told.
    """
    pings = [channel for channel in channels if channel.kind == "ping"]
    return await _send_all(pings, environment, None)


async def announce_end(
    channels: Sequence[Notification], environment: Mapping[str, str], summary: RunSummary
) -> tuple[str, ...]:
    """Tell every channel that wants to hear of this run how it went.

    Returns:
        What went wrong, a sentence each; empty when all were told.
    """
    concerned = [channel for channel in channels if wants(channel, summary)]
    return await _send_all(concerned, environment, summary)


async def _send_all(
    channels: Sequence[Notification], environment: Mapping[str, str], summary: RunSummary | None
) -> tuple[str, ...]:
    if not channels:
        return ()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        said = await asyncio.gather(
            *(_send(session, channel, environment, summary) for channel in channels)
        )
    return tuple(sentence for sentence in said if sentence)


async def _send(
    session: aiohttp.ClientSession,
    channel: Notification,
    environment: Mapping[str, str],
    summary: RunSummary | None,
) -> str:
    """Send one message; returns what went wrong, or nothing."""
    try:
        message = compose(channel, environment, summary)
        async with session.post(
            message.url, data=message.body, headers=message.headers, allow_redirects=False
        ) as answer:
            reason = "" if answer.status < _REDIRECT else f"it answered {answer.status}"
    except NotSent as why:
        reason = str(why)
    except TimeoutError:
        reason = f"no answer within {TIMEOUT_S:.0f} s"
    except Exception as error:  # noqa: BLE001 - no receiver may change what the run came to
        reason = type(error).__name__  # its text would repeat the address
    return f"The {channel.kind} of {channel.url_env} was not told: {reason}." if reason else ""
