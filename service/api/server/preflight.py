"""Check the settings against the packages and this machine before any worker starts."""

from pathlib import Path

from service.api.server.models import package_folders
from service.console.stdio import log
from service.errors import UsageError
from service.inference.runtime import cuda, providers
from service.inference.runtime.providers import Chosen
from service.inference.tta.steps import Model, Options, check_default_mode, check_options
from service.package.package import ModelPackage, without_manifest
from service.settings import Settings, variable_of


def check_packages(settings: Settings) -> list[str]:
    """Read every package that will be served. Returns `NAME@VERSION` of each, in their order.

    The graphs are verified and compared with their manifests, but not opened: a worker does that.

    Raises:
        ModelPackageError: a package cannot be served.
        UsageError: settings that do not fit the packages or this machine.
    """
    provider = providers.choose(settings.provider, quiet=True)
    found: dict[str, Path] = {}
    degradable = False
    for folder in package_folders(settings):
        package = ModelPackage.load(folder)
        precision = package.served_precision(settings.precision, gpu=provider != "cpu")
        model = Model(package.manifest, precision)
        check_default_mode(model)
        tag = f"{package.manifest.name}@{package.manifest.version}"
        if tag in found:
            raise UsageError(
                f"{tag} is served from {found[tag]} and from {folder}: names or versions must "
                "differ"
            )
        found[tag] = folder
        degradable = degradable or _can_degrade(model, settings)
    if not degradable:
        raise UsageError(
            f"{variable_of('degrade')}={settings.degrade}: no package that is served has this mode "
            "(quincunx calibrate fits the gate of adaptive)"
        )
    return list(found)


def say_what_is_passed_over(settings: Settings) -> None:
    """If all packages of a folder are served, name the folders in it that are not packages."""
    if not settings.packages:
        for root in {folder.parent for folder in package_folders(settings)}:
            for folder in without_manifest(root):
                log(f"quincunx: skipped {folder}: it has a graph, but no manifest.json")


def say_where(settings: Settings) -> Chosen:
    """Choose the provider. Where `auto` is the CPU, say in one line what a GPU lacks."""
    found = cuda.look() if settings.provider == "auto" else None
    if found is not None and not found.usable:
        log(f"quincunx: {providers.on_the_cpu(found)}")
        return "cpu"
    return providers.choose(settings.provider)


def _can_degrade(model: Model, settings: Settings) -> bool:
    if settings.degrade == "off":
        return True
    try:
        check_options(Options(tta=settings.degrade), model)
    except UsageError:
        return False
    return True
