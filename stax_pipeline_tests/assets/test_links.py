"""Dagster's metadata leads to the app's pages."""

from __future__ import annotations

import dagster as dg
import pytest

from stax_pipeline.assets.links import page_of

PUBLIC = "https://stax.example.com"


@pytest.mark.parametrize(
    ("slugs", "path"), [((), "/"), (("acme",), "/tenants/acme"), ({"acme"}, "/tenants/acme"), (("acme", "globex"), "/")]
)
@pytest.mark.parametrize("public", ["", PUBLIC])
def test_one_tenant_has_its_page_and_all_others_that_of_all(
    slugs: tuple[str, ...], path: str, public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAX_PUBLIC_URL", public)
    assert page_of(slugs) == {"page": dg.MetadataValue.url(f"{public}{path}")}
