"""What can be wrong with a body, on either side."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from equipoise.errors import EquipoiseError, InputError

Given = ParamSpec("Given")
Read = TypeVar("Read")


class BadRequest(InputError):
    """A request body that cannot be served. ``param`` names the field; ``code`` is stable."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_request") -> None:
        self.param = param
        self.code = code
        super().__init__(message)


class Untranslatable(BadRequest):
    """The request needs something that the target format has no place for; another model may serve it."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "unsupported_by_format") -> None:
        super().__init__(message, param=param, code=code)


class BadAnswer(EquipoiseError):
    """What an upstream said is not what its format promises."""

    code = "bad_response"


def reads_answers(read: Callable[Given, Read]) -> Callable[Given, Read]:
    """For a function that reads answers by what reads requests: what is wrong is the answer there."""

    @wraps(read)
    def reading(*args: Given.args, **named: Given.kwargs) -> Read:
        try:
            return read(*args, **named)
        except BadRequest as error:
            raise BadAnswer(str(error)) from None

    return reading
