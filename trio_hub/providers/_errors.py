"""What goes wrong between an agent and its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ModelError", "model_errors"]


class ModelError(Exception):
    """
    The model gave no answer that could be posted.

    Raised by an agent's turn, it is a nack: the hub asks again later, at most `max_attempts`
    times. What the service said in its own words is the cause; it may quote the conversation, so
    this message, which goes to the hub, does not.

    Args:
        model: Which one.
        problem: What happened, and what to do.
        status: The HTTP status, where there was one.
        request_id: What to tell the service's support.
    """

    def __init__(
        self, model: str, problem: str, *, status: int | None = None, request_id: str | None = None
    ) -> None:
        details = [f"HTTP {status}"] if status is not None else []
        details += [f"request {request_id}"] if request_id else []
        tail = f" ({', '.join(details)})" if details else ""
        super().__init__(f"model {model!r}: {problem}{tail}")
        self.model = model
        self.status = status
        self.request_id = request_id


@contextmanager
def model_errors(model: str, status_error: type[Exception]) -> Iterator[None]:
    """
    Translate, once and at the seam, what asking a model can raise into `ModelError`.

    That is everything: the SDKs let the errors of the HTTP library below them through where a
    stream breaks, and which library that is changes with their versions.

    Args:
        status_error: What the SDK raises for an HTTP status; it has `status_code` and
            `request_id`.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        kind = type(error).__name__
        if isinstance(error, status_error):
            raise ModelError(
                model,
                f"the service refused ({kind})",
                status=getattr(error, "status_code", None),
                request_id=getattr(error, "request_id", None),
            ) from error
        raise ModelError(model, f"the service did not answer ({kind})") from error
