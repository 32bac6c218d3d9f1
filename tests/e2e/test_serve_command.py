"""`quincunx serve` says what is wrong before anything starts."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.ports import free_port
from tests.support.images import coloured, encoded
from tests.support.packages import constant_graph, write_graph
from tests.support.server import serving
from tests.support.tiny import tiny_package

RED = encoded(coloured("red"))


def serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )


def test_an_unknown_setting_ends_it(package: Path) -> None:
    done = serve(str(package), QUINCUNX_MAX_PIXLES="5")
    assert done.returncode == 2
    assert "did you mean QUINCUNX_MAX_PIXELS?" in done.stderr


def test_no_package_ends_it(tmp_path: Path) -> None:
    done = serve(str(tmp_path))
    assert done.returncode == 1
    assert "no model package" in done.stderr


def test_an_altered_package_ends_it(tmp_path: Path) -> None:
    folder = tiny_package(tmp_path / "tiny")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = serve(str(folder))
    assert done.returncode == 1
    assert "was altered" in done.stderr


def test_a_taken_port_ends_it(package: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = serve(str(package), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--port=0", "--provider=abacus", "--workers=0"])
def test_a_senseless_option_ends_it(package: Path, option: str) -> None:
    assert serve(str(package), option).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "message"),
    [
        (["--precision", "int8"], {}, 1, "has no int8 model; it has: fp32"),
        (["--provider", "cuda"], {"CUDA_VISIBLE_DEVICES": "-1"}, 2, "missing: "),
        ([], {"QUINCUNX_API_KEYS_FILE": "/no/such"}, 2, "QUINCUNX_API_KEYS_FILE: "),
    ],
)
def test_what_a_worker_would_find_out_ends_it_with_one_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], code: int, message: str
) -> None:
    package = tiny_package(tmp_path / "tiny", int8=False)
    done = serve(str(package), *arguments, **environment)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_graph_that_fails_when_it_is_opened_or_run_ends_it(tmp_path: Path) -> None:
    """Both workers find it out, and nothing is restarted for ever."""
    unknown, alone = constant_graph(), constant_graph(number="1")
    unknown.graph.node[0].op_type = "NoSuchOperator"
    for graph, message in ((unknown, "cannot be loaded"), (alone, "must give logits of shape")):
        folder = tiny_package(tmp_path / message, int8=False)
        write_graph(folder, graph.SerializeToString())
        done = serve(str(folder), "--workers", "2", "--port", str(free_port()))
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("quincunx: error: no worker can start: ")
        assert message in last
        assert "Traceback" not in done.stderr
        assert "serving" not in done.stderr


def test_it_serves_from_any_path_without_a_home_and_beside_a_service_of_its_name(
    tmp_path: Path,
) -> None:
    folders = [
        tiny_package(tmp_path / name / "m", name=f"tiny-{number}", int8=False)
        for number, name in enumerate(("2024-05-01T12:30", " ", "[x]", os.fsdecode(b"\xff")))
    ]
    links = {
        "QUINCUNX_SERVICE_HOST": "10.96.0.10",
        "QUINCUNX_PORT": "tcp://10.96.0.10:80",
        "QUINCUNX_PORT_80_TCP": "tcp://10.96.0.10:80",
    }
    homeless = {"HOME": "/proc/nowhere", "BENTOML_HOME": "/proc/nowhere/bentoml"}
    with serving(folders, tmp_path, workers=2, environment={**links, **homeless}) as server:
        for number in range(len(folders)):
            answer = httpx.post(
                f"{server.url}/classify?model=tiny-{number}", files={"image": RED}, timeout=30
            )
            assert answer.json()["label"] == "red"
        log = server.log.read_text()
    assert log.count("ignored, since they describe services: QUINCUNX_PORT, ") == 1
    assert "Traceback" not in log


def test_keys_are_exchanged_while_it_serves(tmp_path: Path) -> None:
    """As Kubernetes does it: keys -> ..data/keys, and ..data is exchanged for another link."""
    mounted = tmp_path / "mounted"
    for version in ("1", "2"):
        (mounted / f"..{version}").mkdir(parents=True)
        (mounted / f"..{version}" / "keys").write_text(f"key-{version}\r\n")
    (mounted / "..data").symlink_to("..1")
    (mounted / "keys").symlink_to("..data/keys")
    folder = tiny_package(tmp_path / "tiny", int8=False)
    with serving([folder], tmp_path, api_keys_file=str(mounted / "keys")) as server:

        def status(key: str) -> int:
            headers = {"Authorization": f"Bearer {key}"}
            return httpx.get(f"{server.url}/models", headers=headers, timeout=30).status_code

        assert (status("key-1"), status("key-2")) == (200, 401)
        (mounted / "..new").symlink_to("..2")
        (mounted / "..new").replace(mounted / "..data")
        shutil.rmtree(mounted / "..1")
        deadline = time.monotonic() + 60
        while status("key-2") != 200:
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)
        assert status("key-1") == 401


def test_nothing_is_written_to_the_home_of_who_classifies(package: Path, tmp_path: Path) -> None:
    """ONNX Runtime, left alone, keeps an id of the machine there and reports to its makers."""
    photo = tmp_path / "red.png"
    photo.write_bytes(RED)
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-m", "service.cli", "classify", str(photo), "--model", str(package)]
    subprocess.run(command, check=True, env={**environment, "HOME": str(home)}, timeout=300)
    assert list(home.rglob("*")) == []
