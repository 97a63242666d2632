"""`kbwg supervise`: from the environment and the host to a running `Supervisor`."""

import asyncio
import logging
import os

from ..errors import PrivilegeError
from ..host import read_host
from ..preflight import findings
from ..settings import Settings
from .credentials import Credentials
from .output import Output
from .supervisor import Supervisor

_log = logging.getLogger(__name__)


def supervise(settings: Settings) -> int:
    """Run everything until SIGTERM; returns the exit status.

    Raises:
        StartError, LoginError: the environment must be changed first.
        SupervisorError: a program of the container is missing or does not work.
    """
    return asyncio.run(_supervise(settings))


async def _supervise(settings: Settings) -> int:
    host = read_host()
    for finding in findings(host, backend=settings.backend, mark=settings.fwmark):
        if finding.fatal:
            raise PrivilegeError(finding.text)
        _log.warning(finding.text)
    paper_key = settings.paper_key()
    output = Output(settings.log_format, [paper_key] if paper_key else [])
    environment = dict(os.environ)  # noqa: TID251 - handed on as it is, not read
    return await Supervisor(settings, environment, Credentials.of(host), output).run()
