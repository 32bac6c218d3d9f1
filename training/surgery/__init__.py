"""Turn the ONNX graph of any image classifier into a graph of a model package.

`convert` is the entry. It needs onnx, onnxruntime and numpy, and no torch.
"""

from training.surgery.convert import convert
from training.surgery.wanted import Converted, Wanted

__all__ = ["Converted", "Wanted", "convert"]
