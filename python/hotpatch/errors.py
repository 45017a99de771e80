"""What can go wrong, each with the exit code that the command gives it."""


class HotpatchError(Exception):
    """Of every failure; `code` is a word for programs, str() a sentence for people."""

    exit_code = 1

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class AgentError(HotpatchError):
    """The agent refused; nothing was changed."""


class WrongUse(AgentError):
    """There is no such command, or it is used in another way."""

    exit_code = 2


class NoAgent(HotpatchError):
    """The process runs no agent, or there is no such process."""

    exit_code = 3


class NotAllowed(HotpatchError):
    """The socket is not the process's own, or its owner lets nobody else in."""


class ConnectionLost(HotpatchError):
    """The process ended, or its agent did, before it answered."""

    exit_code = 3
