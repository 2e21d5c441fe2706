"""Discovery of proxies: ``discover`` runs it; engines propose candidates, the judge ranks them."""

from autoprox.discovery.run import discover, sample_part
from autoprox.discovery.settings import Discovery, DiscoverySettings, Standing

__all__ = ["Discovery", "DiscoverySettings", "Standing", "discover", "sample_part"]
