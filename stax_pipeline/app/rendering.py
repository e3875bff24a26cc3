"""Pages out of templates: everything that is put into one is escaped, and what it does not know is a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from stax_pipeline.app import static_files, wording
from stax_pipeline.app.forms import TOKEN, form_token
from stax_pipeline.app.people.access import COOKIE, person_of


def _commands(sentence: str) -> Markup:
    """The sentence with what stands between backticks as code, all of it escaped."""
    parts = (
        escape(part) if at % 2 == 0 else Markup("<code>{}</code>").format(part)
        for at, part in enumerate(sentence.split("`"))
    )
    return Markup("").join(parts)


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(
    commands=_commands, dollars=wording.dollars, ratio=wording.ratio, day=wording.day, instant=wording.instant
)
_templates.globals.update(
    style=static_files.address("app.css"),
    style_hash=static_files.integrity("app.css"),
    icon=static_files.address("favicon.svg"),
)


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The page that the template makes of these values, for the person who asks."""
    person = person_of(request.scope)
    made = _templates.get_template(template).render(
        person=person,
        has_session=bool(person) and COOKIE in request.cookies,
        token_name=TOKEN,
        token=form_token(request),
        path=request.url.path,
        **values,
    )
    return HTMLResponse(made, status)
