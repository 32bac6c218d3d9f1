"""Settings of a deployment, read once from `QUINCUNX_*` variables.

Facts about a model are in its package. Nothing else in the service reads the environment.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from service.console.nearest import did_you_mean, with_hint
from service.console.requirement import requirement
from service.errors import UsageError
from service.inference.runtime.providers import Provider
from service.setting_values.key_list import check_key, read_keys, split_keys
from service.setting_values.path_list import split_paths
from service.setting_values.renamed import with_new_names
from service.setting_values.service_links import service_links
from service.setting_values.web_names import check_hosts, check_origins, split_names

PREFIX = "QUINCUNX_"
SECRET = frozenset({"api_keys", "admin_keys"})
OPTIONS = frozenset({"host", "port", "workers"})
"""Options of `quincunx serve` that people expect to be settings."""
DAY_MS = 24 * 60 * 60 * 1000

Positive = Annotated[int, Field(gt=0)]
Threads = Annotated[int, Field(ge=0, le=1024)]


# Not pydantic-settings: it would replace one line of `from_environment` and need 30 more, since it
# passes over unknown variables, always reads `os.environ`, and expects every tuple to be JSON.
class Settings(BaseModel):
    """Every knob of the service, with its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    packages: tuple[Path, ...] = ()
    """Model packages to serve, separated as in PATH, or a JSON array of paths. The first is the
    default model. Empty: every package in the folder `models/` beside the code."""
    provider: Provider = "auto"
    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    tf32: bool = True
    """On a GPU, fp32 uses TF32: four times faster, and its answers differ by up to about 0.001."""
    graph_cache: Path | None = None
    """Folder of graphs that are derived on this machine, such as fp16 from fp32. By default
    `$XDG_CACHE_HOME/quincunx`, or `~/.cache/quincunx`. It may be missing or read-only."""
    session_threads: Threads = 1
    """Threads inside one batch; 0: one per core. On a CPU several batches run at once if there are
    enough cores. One thread for each batch gives the highest throughput."""
    latency_threads: Threads = 0
    """On a CPU, threads inside a batch in single-request mode: when no other image is in flight.
    0: one per core. The value of `session_threads` switches the mode off and saves the memory of a
    second session."""
    threads: Threads = 0
    """Threads that decode images and, on a CPU, run batches. 0: one per core, at least two; with
    `--workers` N each process takes its share of the cores."""
    max_batch_views: int = Field(default=0, ge=0)
    """Views in one batch; 0: 64 on a GPU, and on a CPU at most 10, as measured at the start."""
    max_queue_views: Positive = 512
    """Views admitted and not yet answered; more are refused with 429."""
    request_timeout_ms: int = Field(default=10_000, gt=0, le=DAY_MS)
    """Deadline of a request without `X-Request-Timeout-Ms`, and the longest one that it may set."""
    degrade: Literal["off", "dense", "adaptive", "none"] = "off"
    """Answer `five_crop` and `ten_crop` in this cheaper mode while the queue is under pressure."""
    drain_ms: int = Field(default=0, ge=0, le=DAY_MS)
    """After SIGTERM: answer new requests with 503 for this long before the port is closed."""
    worker_silence_ms: int = Field(default=30_000, ge=0)
    """A worker whose event loop has not run for this long is killed and replaced; 0: never."""

    max_request_bytes: Positive = 20 * 1024 * 1024
    max_inflight_bytes: int = Field(default=0, ge=0)
    """Bytes that one process holds: all bodies until they are answered, and all answers until their
    clients have read them. More are refused with 429. 0: 256 MiB, or four times `max_request_bytes`
    if that is more."""
    max_header_bytes: Positive = 64 * 1024
    """Bytes of a request's target and headers together."""
    max_headers: Positive = 100
    header_timeout_ms: int = Field(default=10_000, gt=0, le=DAY_MS)
    """A connection is closed if the head of a request takes longer than this. The time counts from
    the opening of the connection, or from the first byte of a later request."""
    keep_alive_ms: int = Field(default=5_000, gt=0, le=DAY_MS)
    """An idle connection is closed this long after its last answer. Behind a proxy that keeps
    connections open, set a longer time than the proxy's."""
    send_timeout_ms: int = Field(default=20_000, gt=0, le=DAY_MS)
    """A connection is dropped when its client takes less than 64 KiB of an answer in this time."""
    max_connections: int = Field(default=0, ge=0)
    """Open connections of one process. 0: the process's limit on open files, less a few."""
    max_pixels: Positive = 50_000_000
    max_decoding_pixels: int = Field(default=0, ge=0)
    """Pixels of all images together that one process decodes at once; others wait. A single image
    may be larger. 0: one for every 20 bytes of memory, shared among `--workers`."""
    max_decode_ms: int = Field(default=5000, gt=0, le=DAY_MS)
    """Processor time that decoding one image may take; a photo of 50 MP takes about two seconds."""
    max_images: Positive = 64
    """Images in one request."""
    allowed_hosts: tuple[str, ...] = ("*",)
    """Names that the `Host` of a request may have. IP addresses, `localhost` and names without a
    dot are always allowed. `*` allows every name, `*.example.com` every name below that one. By
    default every name is allowed, but none further if `quincunx serve` listens on loopback."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may send requests, like `https://app.example.com`; `*`: all."""
    api_keys: tuple[str, ...] = ()
    """Keys that may classify, separated by commas. Empty: no key is needed."""
    api_keys_file: Path | None = None
    """A file with more such keys, one in each line. It is read again when it changes."""
    admin_keys: tuple[str, ...] = ()
    """Keys that may reload models. Empty: models cannot be reloaded over HTTP."""
    metrics_need_key: bool = False
    drift_window: int = Field(default=1000, ge=0, le=1_000_000)
    """Answers of all workers together that are compared with those to the calibration images; 0:
    none."""
    feedback_folder: Path | None = None
    """Folder of the feedback that clients send about answers, as Parquet files. Empty: off."""
    feedback_max_bytes: Positive = 256 * 1024 * 1024
    """Bytes of all files in the feedback folder; further feedback is refused with 507."""
    feedback_answers: int = Field(default=20_000, gt=0, le=10_000_000)
    """Answers that each process remembers for feedback, 400 bytes for each."""
    page: bool = True
    """Serve the page at `/`."""
    log_format: Literal["json", "text"] = "json"
    log_requests: bool = True

    @field_validator("packages", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return split_paths(value) if isinstance(value, str) else value

    @field_validator("feedback_folder", "graph_cache", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("api_keys", "admin_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        return split_keys(value) if isinstance(value, str) else value

    @field_validator("api_keys", "admin_keys")
    @classmethod
    def _can_be_sent(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for number, key in enumerate(keys, 1):
            check_key(key, f"key {number}")
        return keys

    @field_validator("allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        return split_names(value) if isinstance(value, str) else value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_hosts(value)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_origins(value)

    @field_validator("max_inflight_bytes")
    @classmethod
    def _room_for_one_request(cls, value: int, info: ValidationInfo) -> int:
        one = info.data.get("max_request_bytes", 0)
        if 0 < value < one:
            raise ValueError(f"must be at least {variable_of('max_request_bytes')}, {one}")
        return value

    @property
    def most_inflight_bytes(self) -> int:
        """`max_inflight_bytes`, or the value that its 0 stands for."""
        return self.max_inflight_bytes or max(256 * 1024 * 1024, 4 * self.max_request_bytes)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from `QUINCUNX_*`.

        Raises:
            UsageError: an unknown variable, a value that does not fit, or a variable that is set
                under its old and its new name; the message names it.
        """
        environment = with_new_names(os.environ if environment is None else environment)
        links, known = links_in(environment), {variable_of(name) for name in cls.model_fields}
        values: dict[str, str] = {}
        for variable, value in environment.items():
            name = variable[len(PREFIX) :].lower()
            ours = variable.startswith(PREFIX) or variable.upper() in known
            if not ours or variable in links:
                continue
            if name not in cls.model_fields or variable != variable.upper():
                raise UsageError(f"{variable} is not a setting{_nearest(variable)}")
            values[name] = value
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            shown = "" if name in SECRET else f"={values[name]!r}"
            message = f"{variable_of(name)}{shown}: {requirement(first)}"
            if first["type"] == "literal_error":
                known = re.findall("'([^']*)'", str(first.get("ctx", {}).get("expected")))
                message = with_hint(message, values[name], known)
            raise UsageError(message) from error
        if settings.metrics_need_key and not (settings.api_keys or settings.api_keys_file):
            raise UsageError(
                f"{variable_of('metrics_need_key')} is set, but no key is: set "
                f"{variable_of('api_keys')} or {variable_of('api_keys_file')}"
            )
        return settings

    def keys(self) -> tuple[str, ...]:
        """The keys that may classify, from the setting and the file.

        Raises:
            UsageError: the file cannot be read, holds no key, or holds one that cannot be sent.
        """
        if self.api_keys_file is None:
            return self.api_keys
        try:
            return (*self.api_keys, *read_keys(self.api_keys_file))
        except (OSError, ValueError) as error:
            raise UsageError(f"{variable_of('api_keys_file')}: {error}") from error


def links_in(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The variables in `environment` that look like settings and describe a service of our name."""
    known = {variable_of(name) for name in Settings.model_fields}
    found = service_links(environment, PREFIX.rstrip("_"))
    return tuple(variable for variable in found if variable not in known)


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _nearest(variable: str) -> str:
    option = variable[len(PREFIX) :].lower()
    if option in OPTIONS:
        return f": use quincunx serve --{option}"
    known = [variable_of(name) for name in Settings.model_fields]
    hint = did_you_mean(variable, known).replace("'", "")
    return f"; {hint or 'known: ' + ', '.join(known)}"
