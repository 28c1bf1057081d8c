"""No output shows a secret: not one that an answer echoes, stands elsewhere, or is at work.

Atlas, or what stands before it, and the receivers of notifications echo every secret of the run in
each field, header and error, in any spelling. All that the commands write is searched for what was
echoed. What is echoed where comes from the seed in the name of a case.
"""

import base64
import html
import json
import random
import re
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import cycle, product

import faults
import pytest
from builders import seeds
from observed import ApiKey, ObservedAtlas, Token
from receiving import Receiver, receiving
from running import add_account, cli_in, end, wait_until
from spellings import SPELLINGS

from invite_sweeper.cli.session import configure_logging
from invite_sweeper.simulator import Account
from invite_sweeper.simulator.responses import SimulatedResponse

ACCOUNTS = {
    Token: "eyJhbGciOiJFUzUxMiJ9.eyJjaWQiOiJtZGIifQ.Zx9-Qw_8",
    ApiKey: "0f8fad5b-d9cb-469f-a165-70867728950e",
    Account: "mdb_sa_sk_Gq8eT0xWn-2v.Yp7~Kd5",
}
NOT_USED = frozenset({"password of the gateway"})
"""By `explain` and `doctor`."""
STRUCTURE = re.compile(
    "id|groupId|orgId|.*At|created|rel|href|orgMembershipStatus|eventTypeName|access_token|"
    "token_type|endpointSetId|scope"
)
"""Keys without whose values no list can be read."""
HEADERS = (
    *("Age", "Content-Type", "Date", "Deprecation", "Link", "Location", "RateLimit-Limit"),
    *("RateLimit-Remaining", "Retry-After", "Server", "Set-Cookie", "Sunset", "WWW-Authenticate"),
    *("X-Error-Code", "X-Request-Id"),
)
"""One header of each answer echoes, in turn."""


SEPARATORS = (", ", " ", "", "\n", '"', "'")


class Echo:
    """Puts secrets into answers, each in each spelling, in a random order that a seed repeats.

    Attributes:
        secrets: The secrets by name.
        echoed: What was put into answers.
        covered: The name and spelling of each secret that was.
        hidden: Secrets that the command does not use.
    """

    def __init__(self, seed: int) -> None:
        self.secrets: dict[str, str] = {}
        self.echoed: set[str] = set()
        self.covered: set[tuple[str, str]] = set()
        self.hidden: frozenset[str] = frozenset()
        self._random = random.Random(seed)
        self._turns: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def text(self, count: int = 1) -> str:
        """Return a text with the next `count` secrets in it, or one more."""
        with self._lock:
            texts = [f"of [{self._next()}]" for _ in range(count + self._random.randrange(2))]
            return self._random.choice(SEPARATORS).join(texts)

    def _next(self) -> str:
        while True:
            if not self._turns:
                self._turns = list(product(self.secrets, SPELLINGS))
                self._random.shuffle(self._turns)
            name, spelling = turn = self._turns.pop()
            if name not in self.hidden:
                spelled = SPELLINGS[spelling](self.secrets[name])
                self.covered.add(turn)
                self.echoed.add(spelled)
                return spelled

    def header(self) -> str:
        return re.sub(r"\s+", " ", self.text()).encode().decode("latin-1")

    def everywhere(self, value, *, keep):
        """Return a document with more in each of its texts."""
        if isinstance(value, dict):
            return {
                key: part if keep and keep.fullmatch(key) else self.everywhere(part, keep=keep)
                for key, part in value.items()
            }
        if isinstance(value, list):
            return [self.everywhere(each, keep=keep) for each in value]
        return f"{value} {self.text()}" if isinstance(value, str) else value


def in_texts(echo, response, *, keep=STRUCTURE):
    """Echo in each text of a document, except in the values of some keys."""
    try:
        document = json.loads(response.body)
    except ValueError:
        return response
    body = json.dumps(echo.everywhere(document, keep=keep)).encode()
    return replace(response, body=body)


def in_errors(echo, _response, *, count=1):
    """Refuse the request, in turn with each status."""
    status = next(_STATUSES)
    keys = ("detail", "errorCode", "reason", "error_description")
    document = {key: echo.text(count) for key in keys}
    document |= {"error": status, "parameters": [echo.text(count)]}
    body = json.dumps(document).encode() if status % 2 == 0 else echo.text(count).encode()
    return SimulatedResponse(
        status, body, "application/json", headers=(("X-Error-Code", echo.header()),)
    )


def in_headers(echo, response):
    name = next(_HEADERS)
    if name == "Content-Type":
        return replace(response, media=f"application/json; {echo.header()}")
    kept = tuple(each for each in response.headers if each[0].lower() != name.lower())
    return replace(response, headers=(*kept, (name, echo.header())))


_HEADERS = cycle(HEADERS)
_STATUSES = cycle((400, 403, 404, 409, 500, 401, 302, 200))
ERRORS = [(in_errors, "*/invites*"), (in_errors, "*/users*")]
FIELDS = [
    (in_texts, "*"),
    # Such a list cannot be read then.
    *((partial(in_texts, keep=None), f"*/{x}*") for x in ("invites", "users", "teams", "events")),
]
"""What echoes in the answers to which paths."""


class EchoingReceiver(Receiver):
    """Refuses each message with an echo."""

    def answer(self):
        echo = self.server.echo
        self.send_response(400, echo.header())
        self.send_header("X-Echo", echo.header())
        self.end_headers()
        self.wfile.write(echo.text(4).encode())


class World:
    def __init__(self, cli, echo, receiver) -> None:
        self.cli = cli
        self.echo = echo
        self.receiver = receiver
        self.texts: dict[str, str] = {}
        slack = f"{receiver.url}/services/T0/B0/XyZ0123456789abcdefGHIJ"
        signing = "whsec_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"
        token = "tok-0123456789-abcdef"
        cli.changes |= {
            "SLACK_URL": slack,
            "WEBHOOK_URL": f"{receiver.url}/hook?token={token}",
            "WEBHOOK_SECRET": signing,
        }
        echo.secrets |= {
            "secret": cli.account.secret,
            "SLACK_URL": slack,
            "WEBHOOK_SECRET": signing,
            "token of WEBHOOK_URL": token,
            "password of the gateway": "p@ss/w0rd+12é",
        }
        cli.keys["sources"] = ["invites", "users", "org_users", "org_invites"]
        cli.keys["rules"].append({"name": "p", "older_than": "14d", "statuses": ["PENDING"]})
        cli.keys["limits"] |= {"max_unreadable_projects": 1000, "canary": 0}
        cli.keys["limits"] |= {"max_failure_share": 1.0, "max_already_gone_share": 1.0}
        # One request after the other: the same seed puts the same echo into the same answer.
        cli.keys["execution"] = {"attempts": 1, "concurrency": 1}
        cli.keys["audit"] = {"record": "all"}
        hook = {"kind": "webhook", "url_env": "WEBHOOK_URL", "secret_env": "WEBHOOK_SECRET"}
        slack = {"kind": "slack", "url_env": "SLACK_URL"}
        cli.keys["notify"] = [{**each, "details": True} for each in (slack, hook)]

    def echo_in(self, change, **requests):
        fault = faults.changed(partial(change, self.echo))
        self.cli.sim.faults.add(fault, times=None, **requests)

    def run(self, *words):
        is_sweep = words[0] in {"sweep", "plan"}
        self.echo.hidden = frozenset() if is_sweep else NOT_USED
        done = self.cli.run(*words)
        assert done.code != 1, done.err
        assert "Traceback" not in done.err
        name = " ".join(words)
        self.texts[f"stdout of {name}"] = done.out
        self.texts[f"stderr of {name}"] = done.err
        return done

    def run_with_files(self, *words):
        host = self.receiver.url.removeprefix("http://")
        secret = self.cli.account.secret
        self.echo.echoed.add(secret)
        gateway = f"http://pusher:p%40ss%2Fw0rd%2B12%C3%A9@{host}"
        files = ("--metrics-file", "m.prom", "--reason", f"of {secret}", "--pushgateway", gateway)
        return self.run(*words, *files)

    def read(self, explained, diagnosed):
        self.run("explain", "*", "--output", explained)
        self.run("doctor", "--output", diagnosed)

    def show_in_each_form(self):
        for output in ("json", "csv"):
            self.run("audit", "show", "last", "--output", output)
        self.run("audit", "show")
        self.run("report", "--format", "md")
        self.run("audit", "verify", "--output", "json")
        self.run("restore", "--dry-run", "--output", "json")

    def check_all_that_was_written(self):
        """Show and report the runs, and check that nothing that was written has a secret."""
        self.run("audit", "show", "last")
        self.run("report")
        bodies = b"\n".join(body for *_, body in self.receiver.requests).decode("utf-8", "replace")
        files = {
            path.name: path.read_bytes().decode("utf-8", "replace")
            for path in self.cli.folder.rglob("*")
            if path.is_file() and path.name != "policy.yaml"
        }
        written = {**self.texts, "bodies of notifications": bodies, **files}
        found = {name: shown(self.echo.echoed, text) for name, text in written.items()}
        assert not {name: each[:5] for name, each in found.items() if each}


def dense(text: str) -> str:
    return re.sub("[\\s\xad\u200b\u202e]", "", text).lower()


def shown(echoed, text):
    """Return what was echoed whose middle is in a text, however it is escaped there."""
    plain = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)
    views = {dense(each) for each in (text, html.unescape(text), plain)}
    views |= {each.replace("\\r", "").replace("\\n", "").replace("\\", "") for each in views}
    middles = {each: middle(dense(each)) for each in echoed}
    return [each for each, part in middles.items() if any(part in view for view in views)]


def middle(text: str) -> str:
    return text[len(text) // 5 : len(text) - len(text) // 5].replace("\\", "") or text


@pytest.fixture
def world(request, tmp_path):
    credentials, seed = request.param
    sim = ObservedAtlas()
    echo = Echo(seed)
    admit = sim.oauth.add_token

    def note_token(token, *account):
        echo.secrets["access token"] = token
        admit(token, *account)

    add = sim.add_account
    sim.add_account = lambda account: add(replace(account, secret=ACCOUNTS[type(account)]))
    sim.oauth.add_token = note_token
    with receiving(EchoingReceiver) as server, cli_in(tmp_path, sim, credentials) as cli:
        server.echo = echo
        for number in range(6):
            project = sim.add_project(f"Project {number}", tags={"env": "sandbox"})
            for person in range(3):
                sim.invite(project, f"p{person}@example.com", age=timedelta(days=20))
            roles = {project: ["GROUP_OWNER"]}
            sim.add_user(f"u{number}@example.com", age=timedelta(days=20), group_roles=roles)
        cli.run("doctor")  # it gets an access token, to be known from the first answer on
        yield World(cli, echo, server)


def kind(name):
    """Return the kind of the credentials whose secrets a channel echoes."""
    cases = [pytest.param((name, seed), id=f"{name}-{seed}") for seed in seeds(1)]
    return pytest.mark.parametrize("world", cases, indirect=True)


@kind("service-account")
def test_names_show_no_secret(world):
    world.echo_in(in_texts)
    world.run_with_files("plan", "--out", "plan.jsonl")
    world.run("audit", "show", "plan.jsonl")
    world.read("text", "json")
    world.read("json", "text")
    world.run_with_files("sweep", "-v")
    world.show_in_each_form()
    world.check_all_that_was_written()
    assert "***" in world.cli.log_path.read_text(encoding="utf-8")
    assert world.echo.covered == set(product(world.echo.secrets, SPELLINGS))


@kind("service-account")
@pytest.mark.parametrize("echoes", [ERRORS, FIELDS], ids=["errors", "fields"])
def test_errors_and_fields_show_no_secret(world, echoes):
    for change, path in echoes:
        world.echo_in(change, path=path)
    for output in ("text", "json"):
        world.run_with_files("sweep", "-v", "--output", output)
    world.read("text", "json")
    world.check_all_that_was_written()


@kind("api-key")
def test_headers_and_refused_deletions_show_no_secret(world):
    world.echo_in(in_headers)
    world.echo_in(in_errors, method="DELETE")
    for log_format in ("text", "json"):
        world.run_with_files("plan", "-v", "--log-format", log_format)
    assert len(world.cli.sim.requests) > 2 * len(HEADERS)
    assert world.run_with_files("sweep", "-v").code == 4
    world.check_all_that_was_written()


@kind("token")
def test_first_answer_shows_no_secret(world):
    world.echo_in(partial(in_errors, count=2))
    for number in range(8):
        output = ("text", "json")[number % 2]
        assert world.run_with_files("plan", "-v", "--output", output).code != 0
    world.read("json", "text")
    world.check_all_that_was_written()


# In the wrong place: wrong usage that names the variable or the file ------------------------------

TOKEN = "MONGODB_ATLAS_ACCESS_TOKEN"
CLIENT_SECRET = "mdb_sa_sk_Gq8eT0xWn-2v.Yp7~Kd5Gq8eT0xWn"
OF_A_POLICY = ("sweep --output json -v --policy", "validate", "doctor --policy")


@pytest.fixture
def cli(tmp_path):
    with cli_in(tmp_path) as found:
        found.stock(stale=1)
        yield found


def assert_refused(cli, done, named, secret):
    assert (done.code, cli.sim.requests) == (2, []), done
    assert named in f"{done.err}{done.out}"
    assert secret not in f"{done.err}{done.out}"
    assert [path.name for path in cli.folder.iterdir()] == ["policy.yaml"]


@pytest.mark.parametrize("command", [*OF_A_POLICY, "init"])
def test_each_command_refuses_a_secret_in_the_wrong_variable(cli, command):
    done = cli.run(*command.split(), "policy.yaml", **{TOKEN: CLIENT_SECRET})
    assert_refused(cli, done, f"{TOKEN} holds the secret", CLIENT_SECRET)


@pytest.mark.parametrize("command", OF_A_POLICY)
@pytest.mark.parametrize("known", ["{token}", "https://hooks.example.com/services/T0/B0123456789"])
def test_policy_that_holds_a_known_secret_is_wrong_usage_that_names_its_line(cli, command, known):
    known = known.format(token=cli.account.secret)
    cli.keys["notify"] = [{"kind": "slack", "url_env": "SLACK_URL"}]
    cli.keys["keep"] = [{"name": "board", "usernames": ["*@b.example.com"], "reason": known}]
    done = cli.run(*command.split(), "policy.yaml", SLACK_URL=known)
    assert_refused(cli, done, "contains a secret of the environment in line", known)


# Of a run at work, where no answer echoes it ------------------------------------------------------


def assert_silent(cli, *outputs, secrets=()):
    """Check that no output and no file of the program has a secret of the account, or these."""
    files = [path for path in cli.folder.rglob("*") if path.is_file() and path.suffix != ".mounted"]
    written = "".join([*outputs, *(path.read_text("utf-8", "replace") for path in files)])
    pair = base64.b64encode(f"{cli.account.name}:{cli.account.secret}".encode()).decode()
    for secret in (cli.account.secret, pair, *secrets):
        assert secret not in written
    for word in ("Authorization", "Bearer ", 'response="', "Traceback"):
        assert word not in written


@pytest.mark.parametrize("kind", ["token", "api-key", "service-account"])
def test_credentials_from_files_work_and_show_the_id_and_no_secret(cli, kind):
    cli.changes |= dict.fromkeys(cli.account.environment())
    cli.account = add_account(cli.sim, kind)
    for name, value in cli.account.environment().items():
        path = cli.folder / f"{name}.mounted"
        path.write_text(value + "\n", encoding="utf-8")
        cli.changes |= {name: None, f"{name}_FILE": str(path)}
    done = cli.sweep("-v")
    assert (done.code, done.summary["deleted"]) == (0, 1)
    (started,) = cli.lines("run_started")
    assert isinstance(cli.account, Token) or cli.account.name in str(started)
    assert_silent(cli, done.out, done.err)


def test_traceback_in_the_log_shows_no_local_variable(capsys):
    log = configure_logging(quiet=False, verbose=True, log_format="text")
    token = f"a-very-secret-{len('text')}"
    try:
        int("no")
    except ValueError:
        log.exception("failed")
    shown = capsys.readouterr().err
    assert "ValueError: invalid literal" in shown
    assert "in test_traceback_in_the_log" in shown
    assert token not in shown


def test_password_of_the_pushgateway_is_not_shown_by_this_run_or_the_next(cli):
    cli.sim.faults.add(faults.hang(), path="*/invites", times=None)
    gateway = ("--pushgateway", "http://pusher-01:p%40ss-w0rd@127.0.0.1:9")
    process = cli.fork("sweep", *gateway)
    wait_until(cli.run_files)
    second = cli.sweep(*gateway)
    held = (cli.audit_dir / "lock").read_text(encoding="utf-8")
    process.terminate()
    first = end(process)
    assert (second.code, first.code) == (9, 8)
    assert "http://127.0.0.1:9" in second.err
    shown = (held, second.out, second.err, first.out, first.err)
    assert_silent(cli, *shown, secrets=("p%40ss-w0rd", "p@ss-w0rd", "pusher-01"))
