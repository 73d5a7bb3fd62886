"""A hook of MkDocs: the README and the kept results are a part of the site too, so that it can check every link."""

from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "results/reference"


def on_files(files, config):
    """Add what lies outside ``docs/``: the README as the first page, its companions, and the kept results."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    for file in (ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(KEPT.rglob("*"))):
        if file.is_file():
            name = file.relative_to(ROOT).as_posix()
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, config, files):
    """Let pages find the kept results where the site has them: beside the pages of ``docs/``, not above them."""
    return markdown if page.file.src_uri.startswith("results/") else markdown.replace("../results/", "results/")
