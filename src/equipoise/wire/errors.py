"""What can be wrong with a body, on either side."""

from __future__ import annotations

from equipoise.errors import EquipoiseError, InputError


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
