"""Variables that Kubernetes and Docker set for a service of our name are no settings."""

import pytest

from service.errors import UsageError
from service.settings import Settings, links_in

KUBERNETES = {
    "QUINCUNX_SERVICE_HOST": "10.96.0.10",
    "QUINCUNX_SERVICE_PORT": "80",
    "QUINCUNX_SERVICE_PORT_HTTP": "80",
    "QUINCUNX_PORT": "tcp://10.96.0.10:80",
    "QUINCUNX_PORT_80_TCP": "tcp://10.96.0.10:80",
    "QUINCUNX_PORT_80_TCP_PROTO": "tcp",
    "QUINCUNX_PORT_80_TCP_PORT": "80",
    "QUINCUNX_PORT_80_TCP_ADDR": "10.96.0.10",
}
ANOTHER_SERVICE = {
    name.replace("QUINCUNX_", "QUINCUNX_GPU_V2_"): value for name, value in KUBERNETES.items()
}
IPV6 = {
    "QUINCUNX_SERVICE_HOST": "fd00::1",
    "QUINCUNX_PORT": "udp://[fd00::1]:53",
    "QUINCUNX_PORT_53_UDP": "udp://[fd00::1]:53",
}
DOCKER = {
    "QUINCUNX_PORT": "tcp://172.17.0.5:3000",
    "QUINCUNX_PORT_3000_TCP_ADDR": "172.17.0.5",
    "QUINCUNX_NAME": "/web/quincunx",
    "QUINCUNX_ENV_HOME": "/state",
}


@pytest.mark.parametrize("links", [KUBERNETES, ANOTHER_SERVICE, IPV6, DOCKER])
def test_links_are_left_out_and_settings_are_read(links: dict[str, str]) -> None:
    settings = Settings.from_environment(links | {"QUINCUNX_MAX_IMAGES": "3"})
    assert settings == Settings(max_images=3)
    assert set(links_in(links)) == set(links)


def test_other_services_are_not_looked_at() -> None:
    other = {name.replace("QUINCUNX", "REDIS"): value for name, value in KUBERNETES.items()}
    assert links_in(other | {"QUINCUNXES_PORT": "tcp://10.0.0.1:80"}) == ()


@pytest.mark.parametrize(
    "typo",
    [
        {"QUINCUNX_PORT": "8080"},
        {"QUINCUNX_SERVICE_PORT": "80"},
        {"QUINCUNX_SERVICE_HOST": "localhost"},
        {"QUINCUNX_NAME": "/web/quincunx"},
        KUBERNETES | {"QUINCUNX_MAX_PIXEL": "5"},
        KUBERNETES | {"QUINCUNX_PORT_80": "5"},
        KUBERNETES | {"QUINCUNX_ENV_HOME": "/"},
    ],
)
def test_what_only_resembles_a_link_is_an_error(typo: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="is not a setting"):
        Settings.from_environment(typo)


def test_a_setting_is_never_taken_for_a_link() -> None:
    """A service called quincunx-log would own QUINCUNX_LOG_…; the settings stay."""
    links = {"QUINCUNX_LOG_SERVICE_HOST": "10.0.0.1", "QUINCUNX_LOG_FORMAT": "text"}
    assert Settings.from_environment(links).log_format == "text"
