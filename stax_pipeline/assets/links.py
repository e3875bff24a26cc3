"""From Dagster's pages to those of the app: where a person reads on about a run's tenants.

With STAX_PUBLIC_URL an address in full, else a path: Dagster's UI stands under the app, at the same name and port.
"""

from collections.abc import Collection

import dagster as dg

from stax_pipeline.installation.settings import read_settings

PAGE = "page"


def page_of(slugs: Collection[str]) -> dict[str, dg.UrlMetadataValue]:
    """Metadata with the page of the one tenant; of all, where what needs a person comes first, for none or several."""
    path = f"/tenants/{next(iter(slugs))}" if len(slugs) == 1 else "/"
    return {PAGE: dg.MetadataValue.url(f"{read_settings().public_url}{path}")}
