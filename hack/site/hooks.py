"""Makes a site of docs/ without changing what is read in the repository."""

import os
import re

from mkdocs.structure.files import File

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
REPOSITORY = "https://github.com/mcp-forward-auth/mcp-forward-auth/blob/main/"

# Files outside docs/ that are pages of the site.
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "charts/mcp-forward-auth/README.md": "chart.md",
}

# How much a page counts in a search, beside 1: guides before the records of tests.
BOOST = [
    (re.compile(r"reference/(conformance|gateways|controllers|clients)\.md|decisions/|migration/|(performance|architecture|contributing|changelog)\.md"), 0.2),
    (re.compile(r"(troubleshooting|operations|clients|faq|api-keys|gateways/nginx|reference/config)\.md"), 2),
]

# Wide tables have room, and what is code in them breaks between words alone.
STYLE = """
.md-grid { max-width: 72rem; }
.md-typeset table:not([class]) code { word-break: normal; }
.md-typeset table:not([class]) th { min-width: 0; }
.md-typeset table:not([class]) td, .md-typeset table:not([class]) th { padding: .6em .9em; }
"""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")
SOURCE = re.compile(r'(?<=src=")(?![a-z]+:|/)([^"]+)(?=")|(?<=srcset=")(?![a-z]+:|/)([^"]+)(?=")')
KEY = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


def on_files(files, config):
    for source, page in PAGES.items():
        with open(os.path.join(ROOT, source), encoding="utf-8") as f:
            files.append(File.generated(config, page, content=f.read()))
    files.append(File.generated(config, "assets/site.css", content=STYLE))
    return files


def on_page_markdown(markdown, page, config, files):
    # Where the page is in the repository, and in the site.
    page.meta["search"] = {"boost": next((boost for pattern, boost in BOOST if pattern.match(page.file.src_uri)), 1)}
    origin = next((s for s, p in PAGES.items() if p == page.file.src_uri), "docs/" + page.file.src_uri)
    markdown = LINK.sub(lambda m: target(m[1], origin, page.file.src_uri, files) + (m[2] or ""), markdown)
    markdown = SOURCE.sub(lambda m: os.path.relpath(os.path.normpath(os.path.join(os.path.dirname(origin), m[0])).removeprefix("docs/"), page.url or "."), markdown)
    if page.file.src_uri == "reference/config.md":
        markdown = KEY.sub(lambda m: f'| <a id="{anchor(m[1])}" href="#{anchor(m[1])}">`{m[1]}`</a> |', markdown)
    return markdown


def target(link, origin, here, files):
    """What a link of the repository is in the site: a page of it, or the repository's."""
    path = os.path.normpath(os.path.join(os.path.dirname(origin), link))
    page = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    if page and files.get_file_from_path(page + "/README.md"):
        page += "/README.md"
    if page and files.get_file_from_path(page):
        return os.path.relpath(page, os.path.dirname(here))
    if not os.path.exists(os.path.join(ROOT, path)):
        return link  # mkdocs says that it is dead
    return REPOSITORY + path


def anchor(key):
    return key.replace("[]", "").replace(".*", "")
