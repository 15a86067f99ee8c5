"""Fixtures of the Hub tests."""

from tests.hub.hub_fixtures import bundle, client, hub, images, network  # noqa: F401
