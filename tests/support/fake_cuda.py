"""A driver and libraries of CUDA that a test makes up."""

import ctypes
from collections.abc import Collection
from typing import Any

from service.inference.runtime import cuda


class FakeDriver:
    """The calls of libcuda that `service.inference.runtime.cuda` makes."""

    def __init__(self, supports: int = 13010, gpus: int = 1, init_code: int = 0) -> None:
        self._supports, self._gpus, self._init_code = supports, gpus, init_code

    def cuInit(self, _: int) -> int:  # noqa: N802
        return self._init_code

    def cuDriverGetVersion(self, number: Any) -> int:  # noqa: N802
        number._obj.value = self._supports
        return 0

    def cuDeviceGetCount(self, number: Any) -> int:  # noqa: N802
        number._obj.value = self._gpus
        return 0

    def cuDeviceGet(self, handle: Any, index: int) -> int:  # noqa: N802
        handle._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, handle: ctypes.c_int) -> int:  # noqa: N802
        name.value = f"Fake GPU {handle.value}".encode()
        return 0

    def cuDeviceTotalMem_v2(self, total: Any, _: ctypes.c_int) -> int:  # noqa: N802
        total._obj.value = 80 * 2**30
        return 0


class FakeCudnn:
    """The version of cuDNN."""

    def __init__(self) -> None:
        def version() -> int:
            return 91002

        self.cudnnGetVersion = version


class FakeLoad:
    """Loads libraries by name, except for those that are `absent`."""

    def __init__(self, driver: FakeDriver | None = None, absent: Collection[str] = ()) -> None:
        self._driver, self._absent = driver or FakeDriver(), absent

    def __call__(self, name: str) -> Any:
        if name in self._absent:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        if name == cuda.DRIVER:
            return self._driver
        return FakeCudnn() if name == cuda.CUDNN else object()
