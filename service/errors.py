"""Every error that Quincunx itself raises.

    QuincunxError
    ├── ClientError              the client can fix it; the message is shown
    │   ├── UsageError           400  an invalid option or argument
    │   ├── BadImage             422  bytes that are not a readable image
    │   ├── Unauthorized         401  no key, or a wrong one
    │   ├── ForeignOrigin        403  a web page of another origin, which is not allowed
    │   ├── UnknownModel         404  no such model or version is loaded
    │   ├── FeedbackOff          404  the server takes no feedback
    │   ├── RequestTimeout       408  a request that did not arrive in time
    │   ├── TooLarge             413  over a limit on bytes, pixels, images or decoding
    │   ├── TargetTooLong        414  the path and query have too many bytes
    │   ├── UnsupportedImage     415  a readable file of a format that is not accepted
    │   ├── ImageTooSmall        422  a view does not fit into the image
    │   ├── MisdirectedRequest   421  the request is for a name that is not one of this server
    │   ├── Overloaded           429  refused at once: the queue is too long for the deadline
    │   └── HeadersTooLarge      431  the headers are too many or have too many bytes
    ├── ServerError              the operator can fix it; logged, with a generic body
    │   ├── InferenceFailed      500  the runtime failed on a valid batch
    │   │   └── NotFinite        500  the network has no answer for one image: NaN or infinity
    │   ├── ReloadFailed         500  the models cannot be replaced; the answer gives the reason
    │   ├── ShuttingDown         503  draining: no new requests
    │   ├── OutOfResources       503  the machine has no memory, open files or threads left
    │   ├── TooManyConnections   503  the limit on open connections is reached
    │   ├── DeadlineExceeded     504  admitted, but not answered in time
    │   └── FeedbackNotStored    507  the folder of feedback is full or cannot be written
    ├── Unreachable              no Quincunx server answers at an address
    ├── StartFailed              workers that end before they serve
    ├── ModelPackageError        a package that is incomplete, altered or of another schema
    ├── ExportError              an exported graph that does not agree with its checkpoint
    ├── ImportRefused            a model of another library that cannot become a package
    ├── DataError                a data set that cannot be trained or evaluated on
    ├── TrainingDiverged         a training run whose loss is no longer a number
    └── OutputError              a result that cannot be written, or is being written already

`status` is the HTTP status; the command line turns each into exit code 2 (usage) or 1.
"""

import re


class QuincunxError(Exception):
    """The root of the tree."""

    status = 500


class ClientError(QuincunxError):
    """The client can fix it; the message is shown."""

    status = 400


class UsageError(ClientError):
    """An invalid option or argument."""


class BadImage(ClientError):
    """Bytes that are not a readable image."""

    status = 422


class Unauthorized(ClientError):
    """No key, or a wrong one."""

    status = 401


class ForeignOrigin(ClientError):
    """A web page of another origin, which is not allowed."""

    status = 403


class UnknownModel(ClientError):
    """No such model or version is loaded."""

    status = 404


class FeedbackOff(ClientError):
    """The server takes no feedback."""

    status = 404


class RequestTimeout(ClientError):
    """A request that did not arrive in time."""

    status = 408


class TooLarge(ClientError):
    """Over a limit on bytes, pixels, images or decoding."""

    status = 413


class TargetTooLong(ClientError):
    """The path and query have too many bytes."""

    status = 414


class HeadersTooLarge(ClientError):
    """The headers are too many or have too many bytes."""

    status = 431


class UnsupportedImage(ClientError):
    """A readable file of a format that is not accepted."""

    status = 415


class ImageTooSmall(ClientError):
    """A view does not fit into the image."""

    status = 422


class MisdirectedRequest(ClientError):
    """The request is for a name that is not one of this server."""

    status = 421


class Overloaded(ClientError):
    """Refused at once: the queue is too long for the deadline."""

    status = 429

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerError(QuincunxError):
    """The operator can fix it; logged, with a generic body."""


class InferenceFailed(ServerError):
    """The runtime failed on a valid batch."""


class NotFinite(InferenceFailed):
    """The network has no answer for one image: NaN or infinity. Other images are not affected."""


class ReloadFailed(ServerError):
    """The models cannot be replaced; the answer gives the reason."""


class ShuttingDown(ServerError):
    """Draining: no new requests."""

    status = 503


class OutOfResources(ServerError):
    """The machine has no memory, open files or threads left. The image is not the cause."""

    status = 503


class TooManyConnections(ServerError):
    """The limit on open connections is reached."""

    status = 503


class DeadlineExceeded(ServerError):
    """Admitted, but not answered in time."""

    status = 504


class FeedbackNotStored(ServerError):
    """The folder of feedback is full or cannot be written; the answer gives the reason."""

    status = 507


class Unreachable(QuincunxError):
    """No Quincunx server answers at an address. The Python client raises it."""


class StartFailed(QuincunxError):
    """Workers that end before they serve."""


class ModelPackageError(QuincunxError):
    """A package that is incomplete, altered or of another schema."""


class ExportError(QuincunxError):
    """An exported graph that does not agree with its checkpoint."""


class ImportRefused(QuincunxError):
    """A model of another library that cannot become a package; the message says what was found."""


class DataError(QuincunxError):
    """A data set that cannot be trained or evaluated on."""


class TrainingDiverged(QuincunxError):
    """A training run whose loss is no longer a number."""


class OutputError(QuincunxError):
    """A result that cannot be written, or is being written already."""


def code_name(kind: type[Exception]) -> str:
    """`BadImage` -> `bad_image`: the `code` of an error over HTTP."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
