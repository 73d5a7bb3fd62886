"""Plain text out of tagged words."""

import json
import subprocess
import sys

import pytest
from support.experiment import SOURCE

from sequencematch.data.tagged import extract_documents
from sequencematch.errors import UserError

FIRST = "\n\n\tThe/at jury/nn said/vbd ``/`` no/at ''/'' ,/, (/( 1/2/cd of/in it/pps )/) ./.\n\n\tIvan/np Jr./np ./.\n"
PRINTED = "The jury said \N{LEFT DOUBLE QUOTATION MARK}no\N{RIGHT DOUBLE QUOTATION MARK}, (1/2 of it). Ivan Jr."


def test_documents_read_as_they_would_be_printed(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/b").write_text("Second/od ?/.\n")
    (tmp_path / "files/a").write_text(FIRST)
    (tmp_path / "files/.snakemake_timestamp").touch()  # which Snakemake adds
    assert extract_documents(tmp_path / "files") == [PRINTED, "Second?"]
    words = ["--files", tmp_path / "files", "--output", tmp_path / "documents.jsonl"]
    subprocess.run([sys.executable, SOURCE / "extract_documents.py", *words], check=True, capture_output=True)
    lines = (tmp_path / "documents.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"text": PRINTED}, {"text": "Second?"}]


def test_words_without_tags_and_empty_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no documents"):
        extract_documents(tmp_path)
    (tmp_path / "a").write_text("one/cd\nplain words\n")
    with pytest.raises(UserError, match="a, line 2: 'plain' has no tag"):
        extract_documents(tmp_path)
