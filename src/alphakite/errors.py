"""What can go wrong, as one tree; each class's docstring is its default message.

    AlphakiteError
    ├── UsageError        wrong use of a command                        exit 2
    ├── ConfigError       a setting is wrong                            exit 3
    ├── UnavailableError  a part we need is away                        exit 4
    │   ├── TransientError    away for now: retry with back-off; nothing is lost, the journal is the queue
    │   └── SignInError       Schwab wants a new sign-in: a state, not a failure; the recorder waits for it
    ├── RejectedError     this input can never be used: count it, keep it in the journal, go on
    └── FatalError        only a person can mend it                     exit 1

Every error carries what happened, where, and `next_step`, which the command line prints.
"""

from __future__ import annotations


class AlphakiteError(Exception):
    """Something went wrong."""

    exit_code = 1

    def __init__(self, message: str | None = None, *, next_step: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.next_step = next_step


class UsageError(AlphakiteError):
    """The command was called wrongly."""

    exit_code = 2


class ConfigError(AlphakiteError):
    """A setting is wrong."""

    exit_code = 3


class UnavailableError(AlphakiteError):
    """A part we need is away."""

    exit_code = 4


class TransientError(UnavailableError):
    """A part we need is away for now."""


class SignInError(UnavailableError):
    """The Schwab sign-in is dead."""


class RejectedError(AlphakiteError):
    """This input cannot be used."""


class FatalError(AlphakiteError):
    """A person is needed."""
