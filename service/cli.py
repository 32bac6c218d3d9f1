"""`quincunx`: a table of commands. Each is a module that is imported when the command is called.

So ``quincunx --help`` imports only this file and typer, and no command loads the libraries of
another. This is also the only place where an error becomes a line on stderr and an exit code.
"""

import errno
import importlib
import re
import signal
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from service.console.signals import Terminated, terminate
from service.console.stdio import log, open_missing_streams, survive_any_encoding
from service.errors import QuincunxError, UsageError

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("training.commands.train", "Train a recipe on a folder of labelled images."),
    "export": ("training.commands.export", "Turn a run's checkpoint into a model package."),
    "import": (
        "training.commands.import_model",
        "Turn a classifier of another library into a model package.",
    ),
    "add-embedding": (
        "training.commands.add_embedding",
        "Give the graphs of a package the output embedding.",
    ),
    "calibrate": (
        "training.commands.calibrate",
        "Fit confidence, gate, prediction sets on held-out images.",
    ),
    "evaluate": (
        "training.commands.evaluate",
        "Measure a package on labelled images, mode by mode.",
    ),
    "frontier": ("training.commands.frontier", "Plot accuracy against time for every TTA mode."),
    "average": ("training.commands.average", "Average the weights of several runs."),
    "lr-find": ("training.commands.lr_find", "Suggest a learning rate for a recipe, with a plot."),
    "cache": ("training.commands.cache", "List and remove decoded images that training keeps."),
    "show-batch": ("training.commands.show_batch", "Save a grid of a recipe's training images."),
    "recipes": ("training.commands.recipes", "List the recipes that ship, or show one."),
    "serve": ("service.commands.serve", "Serve a model package over HTTP."),
    "classify": ("service.commands.classify", "Classify image files."),
    "score": ("service.commands.score", "Classify a folder of images into a table."),
    "bench": ("service.commands.bench", "Measure latency and load."),
    "doctor": (
        "service.commands.doctor",
        "Show what this machine has, and what auto would choose.",
    ),
    "models": ("service.commands.models", "List, show and verify model packages."),
}

NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""A full disk, a quota, a disk that is read-only, a limit on the size of files."""

TRAINING_LIBRARIES = frozenset(
    {
        "fastai",
        "matplotlib",
        "onnx",
        "onnxscript",
        "safetensors",
        "scipy",
        "sklearn",
        "torch",
        "torchvision",
    }
)


class LazyGroup(TyperGroup):
    """A group whose commands are names and one-line helps until one of them is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the module of the command that `args` name."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name is not None else found, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A Quincunx error ends it with one line."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            _end(str(error), 2)
        except QuincunxError as error:
            _end(str(error), 1)
        except typer.BadParameter as error:
            error.message = _with_the_value(error)
            raise
        except OSError as error:
            if error.errno not in NOT_WRITTEN:
                raise
            _end(f"{error.filename or 'a file'} cannot be written: {error.strerror}", 1)
        except MemoryError:
            _end("memory ran out: give the process more, or work on less at once", 1)
        except Terminated:
            raise typer.Exit(143) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if library not in TRAINING_LIBRARIES:
                raise
            _end(f"{library} is not installed: pip install 'quincunx[train]'", 1)


def load(name: str) -> Any:
    """Import the command `name`: a click command or group."""
    module = importlib.import_module(COMMANDS[name][0])
    command: Any = typer.main.get_command(module.app)
    completion = {"install_completion", "show_completion"}  # the top level has them
    command.params = [option for option in command.params if option.name not in completion]
    for one in (command, *getattr(command, "commands", {}).values()):
        one.rich_markup_mode = None  # plain help: rich shows flags as <bool>
    return command


def _with_the_value(error: typer.BadParameter) -> str:
    """The message about a wrong value, with the value, or with the choice that was probably meant.

    typer raises it from pydantic's error, whose message does not name the value.
    """
    from service.console.requirement import requirement

    errors: Any = getattr(error.__cause__, "errors", None)
    if errors is not None and (reason := requirement(first := errors()[0])).startswith("must "):
        return f"it {reason}, but got {first['input']!r}"
    return _with_the_nearest(error.message)


def _with_the_nearest(message: str) -> str:
    """A message about an unknown choice, with the choice that was probably meant."""
    from service.console.nearest import did_you_mean

    unknown = re.search(r"'([^']*)' is not one of ('.*')", message)
    if not unknown:
        return message
    hint = did_you_mean(unknown[1], re.findall("'([^']*)'", unknown[2]))
    return f"{message.removeprefix('Value error, ')} {hint[:1].upper()}{hint[1:]}".rstrip()


def _end(message: str, code: int) -> NoReturn:
    log(f"quincunx: error: {message}")
    raise typer.Exit(code) from None


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"quincunx {version('quincunx')}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich costs a third of the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def quincunx(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Image classification with five-crop test-time augmentation at about the price of one crop."""


def main() -> None:
    """The entry point of the `quincunx` script."""
    signal.signal(signal.SIGTERM, terminate)
    open_missing_streams()
    survive_any_encoding()
    app()


if __name__ == "__main__":
    main()
