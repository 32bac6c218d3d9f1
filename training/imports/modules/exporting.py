"""Ways to write a torch module as ONNX, from the most general to the most certain."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn.utils import remove_spectral_norm

from service.errors import ImportRefused
from service.package.manifest import MAX_GRAPH_BYTES

OPSET = 20
TORCHSCRIPT_OPSET = 17
INPUT, OUTPUT = "input", "output"
Export = Callable[[], onnx.ModelProto]


class Classifier(nn.Module):
    """A copy of a module for inference on the CPU, which gives one tensor [N, K]."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        found = self.module(images)
        if isinstance(found, dict):  # transformers' outputs are dictionaries
            found = found["logits"]
        while isinstance(found, (tuple, list)):
            found = found[0]
        return found


@dataclass(frozen=True)
class Way:
    """One way to export: its name for people, and what it does."""

    name: str
    export: Export
    any_size: bool


def classifier(module: nn.Module) -> Classifier:
    """A copy that exports; `module` keeps its mode, its device and its hooks.

    Raises:
        ImportRefused: the weights exceed what one ONNX file can hold.
    """
    import copy

    size_bytes = sum(4 * tensor.numel() for tensor in module.state_dict().values())
    if size_bytes > MAX_GRAPH_BYTES:
        raise ImportRefused(
            f"the weights have {size_bytes / 2**30:.1f} GiB in float32; the limit is 2 GiB, which "
            "is what one ONNX file can hold"
        )
    own = copy.deepcopy(module).cpu().float().eval()
    for part in own.modules():
        if hasattr(part, "weight_orig"):  # spectral normalization does not export
            remove_spectral_norm(part)
    return Classifier(own).eval().requires_grad_(False)


def ways(network: Classifier, crop_px: int, takes_any_size: bool) -> Iterator[Way]:
    """The ways to try, in order.

    TorchScript's exporter comes first: it keeps the sides free for more architectures (55 of 62
    that were tried, against 48), and it takes seconds where torch.export may take minutes.
    """
    free = torch.export.Dim.DYNAMIC
    # Equal sides, or a batch of 1, would become constants.
    shape, square = (2, 3, crop_px, crop_px + 32), (2, 3, crop_px, crop_px)
    at = f"at {crop_px}×{crop_px} px"
    found = [
        Way(
            "TorchScript with free sides",
            lambda: _torchscript(network, shape, {0: "N", 2: "H", 3: "W"}),
            True,
        ),
        Way(
            "torch.export with free sides",
            lambda: _dynamo(network, shape, {0: free, 2: free, 3: free}),
            True,
        ),
        Way(f"TorchScript {at}", lambda: _torchscript(network, square, {0: "N"}), False),
        Way(f"torch.export {at}", lambda: _dynamo(network, square, {0: free}), False),
    ]
    # TorchScript would keep the branch that the example takes, without a word.
    branches = _reads_values(network, square)
    for way in found:
        if (takes_any_size or not way.any_size) and not (branches and "Script" in way.name):
            yield way


def _reads_values(network: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether Python code of the module reads values of tensors, as in ``if x.mean() > 0``."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        try:
            network(fake.from_tensor(torch.zeros(shape)))
        except DataDependentOutputException:
            return True
        except Exception:  # an operator without a fake kernel shows nothing
            return False
    return False


def _dynamo(network: nn.Module, shape: tuple[int, ...], free: dict[int, object]) -> onnx.ModelProto:
    with _quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(shape),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes=(free,),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ImportRefused("torch.onnx.export returned nothing")
    return program.model_proto


def _torchscript(
    network: nn.Module, shape: tuple[int, ...], free: dict[int, str]
) -> onnx.ModelProto:
    written = io.BytesIO()
    with _quiet():
        torch.onnx.export(
            network,
            (torch.zeros(shape),),
            written,  # type: ignore[arg-type]
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=TORCHSCRIPT_OPSET,
            dynamic_axes={INPUT: free, OUTPUT: {0: "N"}},
            dynamo=False,
        )
    return onnx.load_model_from_string(written.getvalue())


@contextmanager
def _quiet() -> Iterator[None]:
    """Both exporters warn about themselves, and print to both streams."""
    nowhere = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        yield
