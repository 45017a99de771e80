"""What can go wrong, each with the exit code that the command gives it.

    HotpatchError           itself (remote-call): what answers is no agent of this kind
        AgentError          the agent refused; nothing was changed
            WrongUse        no such command, or not used so
        NoAgent             no such process, or no agent in it
        NotAllowed          somebody else's process
        NoAnswer            the process is there and does not answer in time
        ConnectionLost      the process ended, or its agent did, before it answered; or the connection is closed
        NoTool              the command hotpatch of the package livepatch is needed, and is not there
"""


class HotpatchError(Exception):
    """Of every failure; `code` is a word for programs, str() a sentence for people."""

    exit_code = 1

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class AgentError(HotpatchError):
    """The agent refused; nothing was changed.  `code` says why: no-variable, wrong-type, unsafe, in-use, ..."""


class WrongUse(AgentError):
    """There is no such command, or it is used in another way."""

    exit_code = 2


class NoAgent(HotpatchError):
    """The process runs no agent (`code` no-agent), or there is no such process, or not any more (target-lost)."""

    exit_code = 3


class NotAllowed(HotpatchError):
    """The process is another user's, or does not let us in."""


class NoAnswer(HotpatchError):
    """The process has not answered in time.  What was asked for may happen yet; the connection is closed."""


class ConnectionLost(HotpatchError):
    """The process ended, or its agent did, before it answered; or the connection was closed before this was asked."""

    exit_code = 3


class NoTool(HotpatchError):
    """Debug information is read, and processes are entered, by the command hotpatch in C, which is not in PATH."""


def refusal(code, message):
    """The exception that stands for a code of the agent's, or of the command's in C."""
    kinds = {"usage": WrongUse, "no-agent": NoAgent, "permission": NotAllowed, "timeout": NoAnswer, "target-lost": ConnectionLost}
    return kinds.get(code, AgentError)(code, message)
