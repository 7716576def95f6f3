"""The one tree of errors.

    Fault(code, message, hint)          anything a user should read
    ├── Refused                         policy, budget or permission said no          403, exit 3
    ├── Missing                         no such thing, or not yours                   404, exit 2
    ├── Invalid                         the input is wrong                            422, exit 2
    ├── Conflict                        somebody else was first, or it is final       409, exit 1
    ├── Unauthorized                    who are you                                   401, exit 3
    ├── Throttled                       more than is taken now, try again             429, exit 3
    ├── Unavailable                     a part we need does not answer, try again     503, exit 4
    └── Unsuitable                      this machine can't run it                     500, exit 5

Doors turn a Fault into their own face: problem+json, a provider-shaped error, an `isError` tool result, an exit code.
"""


class Fault(Exception):
    """Something went wrong."""

    status = 500
    exit_code = 1

    def __init__(self, code: str, message: str = "", hint: str = "") -> None:
        super().__init__(message or (self.__doc__ or code))
        self.code = code
        self.message = str(self)
        self.hint = hint


class Refused(Fault):
    """That is not allowed."""

    status = 403
    exit_code = 3


class Missing(Fault):
    """There is no such thing."""

    status = 404
    exit_code = 2


class Invalid(Fault):
    """The input is not valid."""

    status = 422
    exit_code = 2


class Conflict(Fault):
    """Somebody else was first."""

    status = 409


class Unauthorized(Fault):
    """Who you are could not be told."""

    status = 401
    exit_code = 3


class Throttled(Fault):
    """That is more than is taken now."""

    status = 429
    exit_code = 3

    def __init__(self, code: str, message: str = "", hint: str = "", *, retry_after_s: int = 60) -> None:
        super().__init__(code, message, hint)
        self.retry_after_s = retry_after_s


class Unavailable(Fault):
    """A part we need does not answer."""

    status = 503
    exit_code = 4


class Unsuitable(Fault):
    """This machine can't run it."""

    exit_code = 5
