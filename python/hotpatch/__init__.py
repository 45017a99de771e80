"""Client of the hotpatch agent: flags, variables, libraries and functions of a running process.

    with hotpatch.connect(pid) as process:
        process.set_flag("minloglevel", 2)
        process.upgrade("patch1", "add_func")
"""
from .client import Flag, Function, Library, Process, Variable, attach, connect, detach, processes
from .errors import AgentError, ConnectionLost, HotpatchError, NoAgent, NoAnswer, NotAllowed, NoTool, WrongUse

__version__ = "0.1.0"
__all__ = ["connect", "processes", "attach", "detach", "Process", "Flag", "Variable", "Library", "Function",
           "HotpatchError", "AgentError", "NoAgent", "NotAllowed", "NoAnswer", "ConnectionLost", "NoTool", "WrongUse"]
