"""Requests of web pages: which names they may use, and which origins may ask."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.web.hosts import Hosts
from service.errors import UsageError
from service.settings import Settings
from tests.support.app import in_process
from tests.support.images import coloured, encoded

PHOTO = {"image": encoded(coloured("red"))}
APP = "https://app.example.com"
EVIL = "http://evil.example"
POSTS = ["/classify", "/classify_batch", "/models/reload", "/v2/models/tiny/infer",
         "/v2/models/tiny/versions/1/infer"]  # fmt: skip


@asynccontextmanager
async def client_of(package: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with in_process(package, **settings) as running:
        yield running.client


SAFE = ["localhost", "localhost:3000", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1",
        "127.0.0.1:3000", "10.1.2.3:3000", "[::1]", "[::1]:3000", "[fe80::1%25eth0]:80", "quincunx",
        "quincunx:80", "host.docker.internal:3000", "192.168.0.7",
        "quincunx.default.svc", "quincunx.default.svc.cluster.local:80"]  # fmt: skip
FOREIGN = ["evil.example", "evil.example:3000", "EVIL.example.", "127.0.0.1.evil.example", "1.2.3",
           "localhost.evil.example", "127.0.0.1@evil.example", "evil.example/127.0.0.1", "::1",
           "localhost:80:80", "localhost:evil.example", " localhost", "[::1", "[evil.example]",
           "127.0.0.1.nip.io", "internal.evil.example"]  # fmt: skip


@pytest.mark.parametrize("host", SAFE)
def test_addresses_and_private_names_are_always_allowed(host: str) -> None:
    assert Hosts(()).allows(host)
    assert Hosts(("api.example.com",)).allows(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_names_that_anybody_can_have_are_refused(host: str) -> None:
    assert not Hosts(("localhost", "api.example.com", "*.example.org")).allows(host)
    assert Hosts(("*",)).allows(host)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("api.example.com", True),
        ("API.example.com:8443", True),
        ("b.api.example.com", False),
        ("a.example.org", True),
        ("a.b.example.org:1", True),
        ("example.org", False),
        ("evilexample.org", False),
    ],
)
def test_names_can_be_allowed(host: str, allowed: bool) -> None:
    assert Hosts(("Api.Example.com", "*.example.org")).allows(host) is allowed


@given(st.text(max_size=40))
def test_no_host_is_too_odd_to_be_judged(host: str) -> None:
    Hosts(("a.example.com",)).allows(host)


async def test_a_foreign_name_is_a_421_everywhere(package: Path) -> None:
    async with client_of(package, allowed_hosts=("localhost",)) as client:
        for path in ("/", "/models", "/metrics", "/livez", "/readyz", "/nowhere"):
            refused = await client.get(path, headers={"Host": "evil.example:3000"})
            assert refused.status_code == 421
            error = refused.json()["error"]
            assert error["code"] == "misdirected_request"
            assert "QUINCUNX_ALLOWED_HOSTS" in error["message"]
            assert (await client.get(path, headers={"Host": "10.0.0.1:3000"})).status_code != 421


async def test_under_v2_a_foreign_name_is_refused_in_the_shape_of_the_protocol(
    package: Path,
) -> None:
    async with client_of(package, allowed_hosts=("localhost",)) as client:
        refused = await client.get("/v2/models/tiny", headers={"Host": "evil.example"})
        assert refused.status_code == 421
        assert "QUINCUNX_ALLOWED_HOSTS" in refused.json()["error"]


@pytest.mark.parametrize("hosts", [[], [b"a", b"b"], [b"a", b"a"]])
async def test_there_is_one_host_header(package: Path, hosts: list[bytes]) -> None:
    async with client_of(package) as client:
        request = client.build_request("GET", "/models")
        request.headers = httpx.Headers([(b"Host", host) for host in hosts])
        assert (await client.send(request)).status_code == 400


SAME = {"Origin": "http://test"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        SAME,
        {"Origin": "http://test:80"},
        {"Origin": "https://test"},
        {"Origin": "http://test", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://shown.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://shown.example", "X-Forwarded-Host": "shown.example"},
        {"Origin": "https://shown.example:8443", "X-Forwarded-Host": "shown.example:8443, proxy"},
        {"Origin": "http://q.lan:3000", "Host": "Q.lan:3000"},
    ],
)
async def test_programs_and_the_server_s_own_page_may_ask(
    package: Path, headers: dict[str, str]
) -> None:
    async with client_of(package) as client:
        answer = await client.post("/classify", files=PHOTO, headers=headers)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://test:3000"},
        {"Origin": "http://test.evil.example"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://test", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": EVIL, "X-Forwarded-Host": ""},
    ],
)
async def test_a_page_of_another_origin_may_not_post(
    package: Path, headers: dict[str, str]
) -> None:
    async with client_of(package, admin_keys=("admin",), cors_origins=(APP,)) as client:
        keyed = {**headers, "X-API-Key": "admin"}
        for path in POSTS:
            refused = await client.post(path, files=PHOTO, headers=keyed)
            assert refused.status_code == 403
            assert "QUINCUNX_CORS_ORIGINS" in refused.text
            assert "access-control-allow-origin" not in refused.headers
        read = await client.get("/models", headers=headers)
        assert read.status_code == 200
        assert "access-control-allow-origin" not in read.headers


def preflight(method: str = "POST", origin: str = APP) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
        "Access-Control-Request-Private-Network": "true",
    }


@pytest.mark.parametrize("origins", [(APP,), ("https://other.example", APP), ("*",)])
async def test_an_allowed_origin_may_ask_and_read(package: Path, origins: tuple[str, ...]) -> None:
    """Also without a key: a preflight has none."""
    async with client_of(
        package, cors_origins=origins, api_keys=("key",), admin_keys=("admin",)
    ) as client:
        for path in POSTS:
            asked = await client.options(path, headers=preflight())
            assert asked.status_code == 204
            assert asked.headers["access-control-allow-origin"] in (APP, "*")
            assert "POST" in asked.headers["access-control-allow-methods"]
            allowed = asked.headers["access-control-allow-headers"].lower()
            assert {"authorization", "content-type", "x-api-key"} <= set(allowed.split(", "))
            assert asked.headers["access-control-allow-private-network"] == "true"
            assert int(asked.headers["access-control-max-age"]) > 0
            cross = {"Origin": APP, "Sec-Fetch-Site": "cross-site"}
            answer = await client.post(path, files=PHOTO, headers=cross)
            assert answer.status_code == 401
            assert answer.headers["access-control-allow-origin"] in (APP, "*")
            assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
            if "*" not in origins:
                assert answer.headers["vary"] == "Origin"


ERRORS = [
    ("POST", "/classify", b"x" * 2000, 413),
    ("POST", "/classify", b"x", 415),
    ("GET", "/classify", b"", 405),
    ("GET", "/nowhere", b"", 404),
    ("GET", "/v2/nowhere", b"", 404),
    ("GET", "/livez", b"", 200),
    ("GET", "/metrics", b"", 200),
    ("GET", "/classify/", b"", 307),
]


async def test_errors_can_be_read_too(package: Path) -> None:
    async with client_of(package, cors_origins=(APP,), max_request_bytes=1000) as client:
        for method, path, content, status in ERRORS:
            answer = await client.request(method, path, content=content, headers={"Origin": APP})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize("origins", [(), (APP,)])
async def test_a_preflight_of_another_origin_is_refused(
    package: Path, origins: tuple[str, ...]
) -> None:
    async with client_of(package, cors_origins=origins) as client:
        for path in ("/classify", "/models", "/nowhere"):
            refused = await client.options(path, headers=preflight(origin=EVIL))
            assert refused.status_code == 403
            assert "access-control-allow-origin" not in refused.headers
            assert (await client.options(path)).status_code in (404, 405)


async def test_answers_differ_by_origin_where_origins_are_named(package: Path) -> None:
    async with client_of(package, cors_origins=(APP,)) as client:
        assert (await client.get("/models")).headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "value", ["app.example.com", "https://a.com/", "https://*.a.com", "http://"]
)
def test_what_is_no_origin_is_no_setting(value: str) -> None:
    with pytest.raises(UsageError, match=r"QUINCUNX_CORS_ORIGINS=.*an origin like https://app"):
        Settings.from_environment({"QUINCUNX_CORS_ORIGINS": value})


@pytest.mark.parametrize("value", ["https://a.com", "a.com:80", "a*.com", "a b"])
def test_what_is_no_host_is_no_setting(value: str) -> None:
    with pytest.raises(UsageError, match=r"QUINCUNX_ALLOWED_HOSTS=.*a host name without scheme"):
        Settings.from_environment({"QUINCUNX_ALLOWED_HOSTS": value})


def test_origins_and_hosts_are_lists() -> None:
    settings = Settings.from_environment(
        {
            "QUINCUNX_CORS_ORIGINS": "https://a.com, http://localhost:5173,http://[::1]:80,null",
            "QUINCUNX_ALLOWED_HOSTS": "a.com,*.b.com",
        }
    )
    assert settings.cors_origins == (
        "https://a.com", "http://localhost:5173", "http://[::1]:80", "null",
    )  # fmt: skip
    assert settings.allowed_hosts == ("a.com", "*.b.com")
