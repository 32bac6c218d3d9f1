"""From the ONNX graph of any classifier to a graph of the package contract."""

from collections.abc import Iterable
from dataclasses import replace
from math import prod

import onnx

from service.console.text import reason_of
from service.errors import ImportRefused, QuincunxError
from training.surgery import sizes
from training.surgery.building import front
from training.surgery.building.builder import FEATURES, Builder, rename, rename_reserved
from training.surgery.building.class_map import add_class_map
from training.surgery.building.windows import add_windows
from training.surgery.embedding import add_embedding
from training.surgery.graph_index import GraphIndex, remove_unused
from training.surgery.matching import pools
from training.surgery.matching.affine import affine
from training.surgery.matching.any_size import bound_to_size, pads_unevenly, upstream
from training.surgery.matching.head import Head, extract, walk
from training.surgery.notes import drop_notes
from training.surgery.probe import values
from training.surgery.reading import ends, prepare, reshapes, signature
from training.surgery.reading.signature import Signature
from training.surgery.source import example
from training.surgery.wanted import Converted, Kind, Sizes, Wanted


def convert(model: onnx.ModelProto, wanted: Wanted) -> Converted:
    """Find the global pools and the head of `model`, and build the graph that a package holds.

    - An affine head after average pooling: kind `class_map`.
    - Any other head of pooled features: kind `windows`.
    - Neither: kind `crops`. `Converted.reason` says why.

    Sizes, batches and the stride are found by running the graph.

    Raises:
        ImportRefused: the graph cannot be served; the message says what was found.
    """
    try:
        return _convert(model, wanted)
    except QuincunxError:
        raise
    except Exception as error:  # the runtime's own exceptions have no common base
        raise ImportRefused(f"the graph cannot be examined: {reason_of(error, 400)}") from error


def _convert(model: onnx.ModelProto, wanted: Wanted) -> Converted:
    given = signature.read(model, wanted)
    wanted = _at_own_size(given, wanted)
    work = prepare.prepare(model, given)
    new = rename_reserved(work)
    given = replace(
        given,
        input=new.get(given.input, given.input),
        output=new.get(given.output, given.output),
    )
    feeds = example(given, wanted)
    activation, note = ends.take_off(work, given, wanted, feeds)
    notes = [note] if note else []
    bound = ""
    if given.fixed_sides or given.batch:
        bound = _follow_sizes(work, feeds)
    found = _find_head(work, given, feeds)
    index = GraphIndex(work.graph)
    end = found.pools[0].features if isinstance(found, Head) else given.output
    before = upstream(index, [end])
    bound = bound or bound_to_size(index, before)
    uneven = pads_unevenly(index, before)
    kind, features, classes, more = _build(work, given, found, feeds)
    prepared = front.put_in_front(work, given, wanted)
    features = prepared if features == given.input else features
    remove_unused(work)
    if features:
        rename(work, features, FEATURES)
        features = FEATURES
    drop_notes(work)
    channels = add_embedding(work, (given.fixed_sides or (wanted.crop_px,))[0])
    head = found if isinstance(found, Head) else None
    fixed = given.fixed_sides is not None
    result = Converted(
        model=work,
        kind=kind,
        sizes="dynamic",
        stride_px=1,
        smallest_px=1,
        classes=classes,
        activation=activation,
        wanted=wanted,
        source_sizes=(given.fixed_sides,) if given.fixed_sides else "dynamic",
        reason="" if head else str(found),
        notes=(*notes, *more),
        head=head.model if head else None,
        features=features,
        pools=tuple(pool.how for pool in head.pools) if head else (),
        embedding=channels,
    )
    return _with_sizes(result, bound if fixed else "", uneven=fixed and uneven)


def _at_own_size(given: Signature, wanted: Wanted) -> Wanted:
    if given.element == onnx.TensorProto.UINT8:  # what normalizes is inside
        wanted = replace(wanted, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    sides = given.fixed_sides
    if sides is None:
        return wanted
    if sides[0] != sides[1]:
        raise ImportRefused(
            f"the model takes images of {sides[0]}×{sides[1]} px (height × width); crops are "
            "square: export it with a square size or with free sides"
        )
    return wanted


def _follow_sizes(model: onnx.ModelProto, feeds: dict) -> str:
    """Free what was written for one size; returns what still holds for that size only."""
    names = reshapes.examined(GraphIndex(model.graph))
    shapes = {name: value.shape for name, value in values(model, feeds, names).items()}
    return reshapes.follow_sizes(model, shapes)


def _find_head(model: onnx.ModelProto, given: Signature, feeds: dict) -> Head | str:
    index = GraphIndex(model.graph)

    def read(names: Iterable[str]) -> dict:
        known = [one for one in dict.fromkeys(names) if one in index.of_image]
        return {**feeds, **values(model, feeds, [one for one in known if one not in feeds])}

    shapes = {name: value.shape for name, value in read(pools.candidates(index)).items()}
    found = walk(index, given.output, shapes)
    if found.reason:
        return found.reason
    needed = [name for node in found.nodes for name in (*index.data_inputs(node), *node.output)]
    needed += [name for pool in found.pools for name in (pool.output, pool.features)]
    return extract(index, found, given.output, read((*needed, given.output)))


def _build(
    model: onnx.ModelProto, given: Signature, found: Head | str, feeds: dict
) -> tuple[Kind, str, int, list[str]]:
    """Put the new end on `model`: (kind, features, classes, notes)."""
    if isinstance(found, str):
        classes = values(model, feeds, [given.output])[given.output].shape[1]
        builder = Builder(model.graph, "quincunx.head")
        builder.node("Reshape", given.output, builder.integers(-1, classes), output="logits")
        del model.graph.output[:]
        builder.give("logits", ["N", classes])
        return "crops", "", classes, []
    classes = int(found.model.graph.output[0].type.tensor_type.shape.dim[1].dim_value)
    how = " and ".join({"mean": "average", "max": "maximum"}[pool.how] for pool in found.pools)
    kinds = ", ".join(
        dict.fromkeys(n.op_type for n in found.model.graph.node if n.op_type != "Reshape")
    )
    if linear := affine(found):
        features = add_class_map(model, found.pools[0], *linear)
        note = f"the head ({kinds or 'none'} after {how} pooling) is one 1×1 convolution"
        return "class_map", features, classes, [note]
    features = add_windows(model, found, prod(found.forms[0]), classes)
    return (
        "windows",
        features,
        classes,
        [f"features are pooled ({how}) over windows, then the head ({kinds}) runs for each"],
    )


def _with_sizes(result: Converted, bound: str, *, uneven: bool) -> Converted:
    """Find stride, smallest side and sizes by running the graph."""
    crop_px = (
        result.source_sizes[0][0] if result.source_sizes != "dynamic" else result.wanted.crop_px
    )
    graph = sizes.Finished(result.model, result.features)
    if reason := sizes.failing(graph, [(2, crop_px, crop_px)]):
        raise ImportRefused(
            f"the graph cannot be served: {reason}. It must take any number of images at once; "
            "export it with a dynamic batch"
        )
    own: Sizes = ((crop_px, crop_px),)
    if bound:
        reason = f"{bound} holds for the size of the source"
        return replace(result, sizes=own, smallest_px=crop_px, reason=result.reason or reason)
    try:
        stride_px = sizes.stride(graph, result.features, crop_px) if result.features else 1
    except Exception:  # it fails at other heights: the runtime's exceptions have no common base
        stride_px = 1
    if uneven and crop_px % stride_px:
        reason = (
            f"its padding follows from the size, and {crop_px} px is not a multiple of {stride_px}"
        )
        return replace(result, sizes=own, smallest_px=crop_px, reason=result.reason or reason)
    shapes = sizes.checked_shapes(crop_px, stride_px if stride_px > 1 else 32)
    if reason := sizes.failing(graph, shapes):
        return replace(result, sizes=own, smallest_px=crop_px, reason=result.reason or reason)
    smallest_px = sizes.smallest(graph, stride_px, crop_px)
    return replace(result, stride_px=stride_px, smallest_px=smallest_px)
