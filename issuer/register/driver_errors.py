"""Turn what the drivers of databases raise into errors of ours, without a value from the register."""

import contextlib
from collections.abc import Callable, Iterator

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from issuer.errors import RegisterRefused, RegisterUnavailable


@contextlib.contextmanager
def translated(why: Callable[[BaseException | None], str]) -> Iterator[None]:
    """Raise RegisterUnavailable or RegisterRefused instead; `why` says what may be said of an error."""
    try:
        yield
    except IntegrityError as error:
        raise RegisterRefused(f"the register refuses this: {why(error.orig)}") from None
    except DBAPIError as error:
        raise RegisterUnavailable(f"the register cannot be used: {why(error.orig)}") from None
    except NoFreeConnection:
        raise RegisterUnavailable("the register is busy") from None
