"""The public Python client with its base URL replaced, for the tests in this directory.

The first line of standard output is a JSON object: the options of each command about artifacts and images.
Then standard input gives one JSON object a line:

    {"endpoint": "http://127.0.0.1:1234", "directory": "/tmp/x", "environment": {"NAME": "value"}, "arguments": ["images", "list"]}

and each is answered with a line `{"code", "stdout", "stderr"}` of that command line.

Everything is the client's own code, but for: the base URL, its telemetry and the look-up of the tenant at start
(neither is ours to send), and its progress bar. Nothing leaves the loopback interface: a connection to any other
address is refused here.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback


def stay_on_loopback() -> None:
    connect = socket.socket.connect

    def checked(self: socket.socket, address: object) -> None:
        if self.family == socket.AF_INET and isinstance(address, tuple) and address[0] == "127.0.0.1":
            return connect(self, address)
        raise PermissionError(f"a test tried to reach {address}")

    def refused(*arguments: object, **_: object) -> None:
        raise PermissionError(f"a test tried to look up {arguments}")

    socket.socket.connect = checked
    socket.socket.connect_ex = refused
    look_up = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **named: (
        look_up(host, *rest, **named) if host == "127.0.0.1" else refused(host)
    )


stay_on_loopback()
# Nothing that is printed is to be wrapped.
os.environ["COLUMNS"] = "100000"

import peak.config  # noqa: E402
import peak.handler  # noqa: E402
import peak.session  # noqa: E402
from peak.constants import OutputTypes  # noqa: E402

ENDPOINT = ""


def patch() -> None:
    peak.session.get_base_domain = lambda *_, **__: ENDPOINT

    send = peak.handler.Handler.make_request.__wrapped__

    def make_request(self, *arguments, session_meta=None, **named):  # noqa: ANN001, ANN002, ANN003, ANN202, ARG001
        return send(self, *arguments, **named)

    peak.handler.Handler.make_request = make_request

    def set_spoke_domain(self) -> None:  # noqa: ANN001
        self.is_spoke_tenant, self.spoke_domain = False, ""

    peak.session.Session._set_spoke_domain = set_spoke_domain
    peak.handler.HandlerUtils._default_callback = lambda *_: lambda _monitor: None


def forget() -> None:
    """Back to what a new process would start with."""
    peak.config.DEBUG_MODE = False
    peak.config.ENABLE_PAGING = False
    peak.config.OUTPUT_TYPE = OutputTypes.json
    peak.config.TABLE_PARAMS = {}
    peak.session.DEFAULT_SESSION = None


def run(command, job: dict) -> dict:  # noqa: ANN001
    from click.testing import CliRunner

    global ENDPOINT
    ENDPOINT = job["endpoint"]
    forget()
    os.chdir(job["directory"])
    os.environ.clear()
    os.environ.update(job["environment"])
    result = CliRunner(mix_stderr=False).invoke(command, job["arguments"], prog_name="peak")
    stderr = result.stderr
    if result.exception and not isinstance(result.exception, SystemExit):
        stderr += "".join(traceback.format_exception(result.exception))
    return {"code": result.exit_code, "stdout": result.stdout, "stderr": stderr}


def options(command) -> dict[str, list[list[str]]]:  # noqa: ANN001
    """The spellings of each option of each command about artifacts and images."""
    return {
        f"{group} {name}": [
            spellings
            for parameter in subcommand.params
            if parameter.param_type_name == "option"
            for spellings in (parameter.opts, parameter.secondary_opts)
            if spellings
        ]
        for group in ("artifacts", "images")
        for name, subcommand in command.commands[group].commands.items()
    }


def main() -> None:
    from peak.cli.cli import typer_app
    from typer.main import get_command

    patch()
    # Made once: it takes longer than the commands themselves.
    command = get_command(typer_app)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    print(json.dumps(options(command)), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(command, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
