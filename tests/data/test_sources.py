"""Corpora: read from files, the hub's format and generators; split without leaks; refused in one sentence."""

import codecs
import gzip
import itertools
import json
import os
import subprocess
from collections import Counter

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.experiment import command, run
from support.reduced import make_tree
from support.workflow import snakemake

from sequencematch.data import documents, pairs, sources
from sequencematch.data.documents import read_documents
from sequencematch.data.pairs import read_pairs
from sequencematch.data.sources import LONGEST_LINE
from sequencematch.data.splits import make_splits
from sequencematch.errors import UserError
from sequencematch.settings.data import Dataset, Source, Text, Translation
from sequencematch.store.datasets import load
from sequencematch.store.files import SMALL

PAIRS = [(f"sentence {i}, “quoted”", f"phrase {i} à l'été") for i in range(30)]
TEXTS = [f"Title {i}\n\nWhat document {i} says, naïvely." for i in range(12)]
EN_FR = Translation(train=1, validation=1, test=1)


def files(*train, **others) -> Source:
    return Source(kind="files", train=tuple(map(str, train)), **others)


def text_file(path, lines, opened=open):
    with opened(path, "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def hub_folder(folder, splits, configuration="default"):
    """A data set in the hub's own format: parquet files, and a card that names them."""
    folder.mkdir()
    listed = "".join(f"  - split: {name}\n    path: {name}.parquet\n" for name in splits)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {configuration}\n  data_files:\n{listed}---\n")
    for name, rows in splits.items():
        datasets.Dataset.from_list(rows).to_parquet(folder / f"{name}.parquet")
    return folder


# ---- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["aligned", "aligned.gz", "tsv", "tsv.gz", "jsonl", "nested.jsonl.gz"])
def test_pairs_are_the_same_from_every_form_of_file(tmp_path, form):
    opened = gzip.open if form.endswith("gz") else open
    rows = [{"en": en, "fr": fr} for en, fr in PAIRS]
    if form.startswith("aligned"):
        sides = ([pair[side] for pair in PAIRS] for side in (0, 1))
        named = [text_file(tmp_path / f"{side}.{form}", lines, opened) for side, lines in enumerate(sides)]
    else:
        lines = map("\t".join, PAIRS) if form.startswith("tsv") else map(json.dumps, rows)
        if form.startswith("nested"):
            lines = (json.dumps({"id": "x", "translation": row}) for row in rows)
        named = [text_file(tmp_path / f"a.{form}", lines, opened)]
    assert read_pairs(files(*named), EN_FR) == {"train": PAIRS}


def test_a_separator_starts_documents_and_keeps_its_line(tmp_path):
    text = " \n = One = \nfirst\n = = Part = = \nmore\n\n = Two = \nsecond\n"
    (tmp_path / "a.txt").write_text(text)
    whole = read_documents(files(tmp_path / "a.txt"))["train"]
    assert whole == [text.rstrip("\n")]
    cut = read_documents(files(tmp_path / "a.txt", separator="^ = [^=]+ = $"))["train"]
    assert cut == [" = One = \nfirst\n = = Part = = \nmore\n", " = Two = \nsecond"]


def test_documents_of_json_lines_and_of_several_files(tmp_path):
    first = text_file(tmp_path / "a.jsonl", [json.dumps({"text": text, "id": 1}) for text in TEXTS])
    second = text_file(tmp_path / "b.txt.gz", ["last"], gzip.open)
    assert read_documents(files(first, second, test=(str(first),))) == {"train": [*TEXTS, "last"], "test": TEXTS}


def test_a_local_folder_in_the_format_of_the_hub(tmp_path):
    rows = [{"id": str(i), "translation": {"en": en, "fr": fr}} for i, (en, fr) in enumerate([*PAIRS, ("", "vide")])]
    folder = hub_folder(tmp_path / "pairs", {"train": rows}, configuration="en-fr")
    source = Source(kind="hub", name=str(folder), configuration="en-fr")
    assert read_pairs(source, EN_FR) == {"train": PAIRS}
    with pytest.raises(UserError, match="row 1: 'de' is missing .there are: 'en', 'fr'."):
        read_pairs(source, Translation(languages=("en", "de")))

    splits = {"train": [{"text": text} for text in TEXTS], "test": [{"text": "kept apart"}]}
    found = read_documents(Source(kind="hub", name=str(hub_folder(tmp_path / "texts", splits))))
    assert {name: list(texts) for name, texts in found.items()} == {"train": TEXTS, "test": ["kept apart"]}


def test_generators_by_name(monkeypatch):
    def endless(seed):
        return ((f"{seed}-{i}", f"{seed}+{i}") for i in itertools.count())

    monkeypatch.setitem(pairs.GENERATORS, "counted", endless)
    monkeypatch.setitem(documents.GENERATORS, "fixed", lambda: TEXTS)
    data = Translation(source="counted", train=5, validation=2, test=3, seed=9)
    source = Source(kind="generated", name="counted")
    splits, _facts = make_splits(read_pairs(source, data), data, source, lambda pair: pair[0])
    assert sorted(itertools.chain(*splits.values())) == sorted((f"9-{i}", f"9+{i}") for i in range(10))
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 5, "validation": 2, "test": 3}
    assert read_documents(Source(kind="generated", name="fixed")) == {"train": TEXTS}


def test_a_stream_is_read_only_as_far_as_needed():
    taken = []

    def stream():
        for i in itertools.count():
            taken.append(i)
            yield str(i // 2)  # every document twice

    sizes = Text(train=10, validation=3, test=4)
    make_splits({"train": stream()}, sizes, Source(name="x"), lambda text: text)
    assert len(taken) == 2 * 17 - 1
    taken.clear()
    make_splits({"train": stream(), "test": ["0", "1", "x", "y"]}, sizes, Source(name="x"), lambda text: text)
    assert len(taken) == 2 * (13 + 2) - 1  # what stands in test does not count


# ---- splits ------------------------------------------------------------------------------------------

rows = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(0, 3)), min_size=20, max_size=60)


@given(rows, st.none() | st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), min_size=2), st.integers(0, 5))
def test_no_sentence_is_in_two_splits(train, test, seed):
    keys = {key for key, _ in train} - {key for key, _ in test or []}
    sizes = Dataset(train=1, validation=1, test=2, seed=seed)
    given = {"train": train} | ({"test": test} if test is not None else {})
    if len(keys) < (2 if test is not None else 4):
        return
    splits, facts = make_splits(given, sizes, Source(name="x"), lambda row: row[0])
    sides = [{key for key, _ in rows} for rows in splits.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 1, "validation": 1, "test": 2}
    for name, chosen in splits.items():  # and rows are those of the source, none more often than there
        assert not Counter(chosen) - Counter(given.get(name, train))
    assert facts["left_out"]["train"] == sum(key in {k for k, _ in test or []} for key, _ in train)


def test_every_row_is_used_where_all_are_asked_for():
    """Two wordings of a held-out sentence: one is asked, and the other is in no split."""
    train = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]
    splits, _ = make_splits(
        {"train": train}, Dataset(train=2, validation=1, test=1), Source(name="x"), lambda row: row[0]
    )
    held_out = {splits["test"][0], splits["validation"][0]}
    assert {number for _, number in held_out} == {1}
    (left,) = {"a", "b", "c"} - {key for key, _ in held_out}
    assert splits["train"] == [(left, 1), (left, 2)]


def test_fewer_are_a_random_part_that_the_seed_decides():
    given = {"train": [str(i) for i in range(200)]}

    def drawn(seed, train=50):
        sizes = Dataset(train=train, validation=20, test=20, seed=seed)
        return make_splits(given, sizes, Source(name="x"), lambda text: text)[0]

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1)["train"] == drawn(1, train=160)["train"][:50]
    mean = sum(map(int, drawn(1)["train"])) / 50
    assert 80 < mean < 120, "not the first of them"


def test_too_few_and_a_changed_corpus_are_one_sentence():
    sizes = Dataset(train=9, validation=2, test=1)

    def refusal(count, **options):
        with pytest.raises(UserError) as caught:
            make_splits({"train": list(map(str, range(count)))}, sizes, Source(name="x", **options), str)
        return str(caught.value)

    assert refusal(11) == (
        "the source has too few rows for the sizes asked for (9 for train, 2 for validation, 1 for test): "
        "8 for train; lower them"
    )
    _, facts = make_splits({"train": list(map(str, range(12)))}, sizes, Source(name="x"), str)
    assert f"have the digest {facts['source_digest']}, and its settings say 0123" in refusal(12, digest="0123")
    make_splits({"train": list(map(str, range(12)))}, sizes, Source(name="x", digest=facts["source_digest"]), str)


# ---- what is wrong with a corpus ---------------------------------------------------------------------


DEEP = b'{"en": ' + b"[" * 100_000 + b"]" * 100_000 + b', "fr": "x"}\n'
CUT_OFF = gzip.compress(b"one\tun\n" * 500, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.tsv", b"one\tun\ntwo deux\n", "a.tsv, line 2: 1 columns where there must be 2, parted by one tab"),
        ("a.tsv", b"one\tun\n\tdeux\n", "a.tsv, line 2: empty, but must be a sentence"),
        (
            "a.jsonl",
            b'{"en": "one", "fr": "un"}\n{"en": "two",\n',
            "a.jsonl, line 2: not valid JSON (Expecting property",
        ),
        ("a.jsonl", b"[1, 2]\n", "a.jsonl, line 1: not a JSON object, but '[1, 2]'"),
        ("a.jsonl", b'{"en": "one"}\n', "a.jsonl, line 1: 'fr' is missing (there are: 'en')"),
        ("a.jsonl", b'{"en": "one", "fr": null}\n', "a.jsonl, line 1: 'fr' is None, not text (there are: 'en', 'fr')"),
        ("a.jsonl", b'{"en": "one", "fr": " "}\n', "a.jsonl, line 1: empty, but must be a sentence"),
        ("a.tsv", b"one\tun\ntwo\td\xe9ux\n", "a.tsv, line 2: byte 6 is not UTF-8 (0xe9): convert the file to UTF-8"),
        ("a.tsv.gz", b"one\tun\n", "a.tsv.gz' is not a valid gzip file (Not a gzipped file"),
        ("a.tsv.gz", CUT_OFF, "a.tsv.gz' is not a valid gzip file (Compressed file ended"),
        ("a.csv", b"", "a.csv: name two aligned texts, .tsv or .jsonl"),
        # Texts that no file can hold, and files that are no text.
        ("a.jsonl", b'{"en": "one", "fr": "u\\ud83dn"}', "line 1: 'fr' has half a character at 2 ("),
        ("a.jsonl", b'{"translation": {"en": "\\udc00", "fr": "un"}}', "line 1: 'en' has half a character at 1"),
        ("a.jsonl", DEEP, "a.jsonl, line 1: not valid JSON (nested too deeply)"),
        ("a.tsv", b"one\tun\rtwo\tdeux\r", "a.tsv' ends lines by a carriage return alone"),
        ("a.tsv", "one\tun\n".encode("utf-16"), "byte 1 is not UTF-8 (0xff): convert the file to UTF-8 from UTF-16"),
        ("a.tsv", "one\tun\n".encode("utf-16-le"), "a.tsv, line 1: a zero byte"),
    ],
)
def test_a_wrong_file_of_pairs_is_named_with_its_line(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_pairs(files(tmp_path / name), EN_FR)
    message = str(caught.value)
    assert sentence in message and "\n" not in message
    message.encode()


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path, ends):
    """Whatever the kind of file; also of the second file where two were joined into one."""
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF8 + b"one" + ends + codecs.BOM_UTF8 + b"two" + ends)
    assert read_documents(files(tmp_path / "a.txt"))["train"] == ["one\ntwo"]
    (tmp_path / "a.tsv").write_bytes(codecs.BOM_UTF8 + b"one\tun" + ends)
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(codecs.BOM_UTF8 + b"one\tun" + ends))
    (tmp_path / "a.jsonl").write_bytes(codecs.BOM_UTF8 + b'{"en": "\\ufeffone", "fr": "\xef\xbb\xbfun"}' + ends)
    for side, word in (("en", b"one"), ("fr", b"un")):
        (tmp_path / f"a.{side}").write_bytes(codecs.BOM_UTF8 + word + ends)
    for names in (["a.tsv"], ["a.tsv.gz"], ["a.jsonl"], ["a.en", "a.fr"]):
        assert read_pairs(files(*(tmp_path / name for name in names)), EN_FR) == {"train": [("one", "un")]}
    assert list(documents._texts([(1, {"text": "\ufeffone"})], "name, row")) == ["one"]


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.tsv")
    with pytest.raises(UserError, match="a.tsv' is not a regular file"):
        read_pairs(files(tmp_path / "a.tsv"), EN_FR)


def test_files_without_end_are_refused_when_they_have_grown_too_much(tmp_path, monkeypatch):
    assert LONGEST_LINE + SMALL < 2**29, "what is read before a file is refused fits any machine"
    monkeypatch.setattr(sources, "LONGEST_LINE", 2**16)
    monkeypatch.setattr("sequencematch.store.files.SMALL", 2**16)
    with (tmp_path / "a.txt").open("wb") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(UserError, match="a.txt, line 1: it has more than 65,536 bytes, so this is not a text file"):
        read_documents(files(tmp_path / "a.txt"))
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"\0" * 2**20))
    with pytest.raises(UserError, match="a.tsv.gz, line 1: it has more than 65,536 bytes"):
        read_pairs(files(tmp_path / "a.tsv.gz"), EN_FR)
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"a\tb\n" * 2**18))
    with pytest.raises(UserError, match="a.tsv.gz' grows to more than 50 times its size when it is decompressed"):
        read_pairs(files(tmp_path / "a.tsv.gz"), EN_FR)


def test_a_pipe_in_a_local_folder_of_the_hubs_format_is_refused(tmp_path):
    folder = hub_folder(tmp_path / "texts", {"train": [{"text": "x"}]})
    os.mkfifo(folder / "more.parquet")
    with pytest.raises(UserError, match="more.parquet' is not a regular file"):
        read_documents(Source(kind="hub", name=str(folder)))


def test_aligned_files_that_are_not(tmp_path):
    english, french = tmp_path / "a.en", tmp_path / "a.fr"
    text_file(english, ["one", "two", "three"])
    text_file(french, ["un", "deux"])
    with pytest.raises(UserError) as caught:
        read_pairs(files(english, french), EN_FR)
    assert str(caught.value) == (f"'{english}' has 3 lines and '{french}' 2: line n must translate line n")
    text_file(french, ["un", " ", "trois"])
    with pytest.raises(UserError, match="a.fr, line 2: empty"):
        read_pairs(files(english, french), EN_FR)
    with pytest.raises(UserError, match="b.fr' is not there: check the files of the source"):
        read_pairs(files(english, tmp_path / "b.fr"), EN_FR)


def test_a_wrong_file_of_documents_is_named_with_its_line(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"txt": "two"}\n')
    with pytest.raises(UserError, match="a.jsonl, line 2: 'text' is missing .there are: 'txt'."):
        read_documents(files(tmp_path / "a.jsonl"))
    with pytest.raises(UserError, match="no documents can be read from a.pdf: name .txt or .jsonl files"):
        read_documents(files("a.pdf"))


def test_an_unreachable_hub_is_one_sentence_without_secrets(tmp_path, monkeypatch):
    """Through the real command, offline; then with an error that quotes what it should not."""
    secret = "hf_abcdefghijklmnop"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_TOKEN": secret, "HF_HOME": str(tmp_path)}
    source = {"source_kind": "hub", "source_name": "nobody/nothing", "source_revision": "main"}
    words = command("make_text", **source, output=tmp_path / "data")
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("error: cannot read 'nobody/nothing' from the hub (")
    assert "kind 'files'" in done.stderr and "'generated'" in done.stderr and secret not in done.stderr

    def fails(*args, **options):
        raise ConnectionError(f"GET https://me:pass@host/x?a=secret-1 with {secret} failed\nand more")

    monkeypatch.setenv("HUB_TOKEN", "secret-1")
    monkeypatch.setattr(datasets, "get_dataset_split_names", fails)
    with pytest.raises(UserError) as caught:
        read_documents(Source(kind="hub", name="a/b", revision="c"))
    message = str(caught.value)
    assert "(GET https://...host/x?a=... with ... failed)" in message and "\n" not in message


def test_a_connection_that_is_lost_says_so(monkeypatch):
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *a, **b: ["train"])
    lost = ({"text": str(i)} if i < 2 else throw(ConnectionError("connection lost")) for i in range(3))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **b: lost)
    with pytest.raises(UserError, match="cannot read 'a/b' from the hub .connection lost.: check its name"):
        list(read_documents(Source(kind="hub", name="a/b", revision="c"))["train"])


def throw(error):
    raise error


def test_the_revision_is_what_is_asked_of_the_hub(monkeypatch):
    asked = []

    def names(name, configuration, **options):
        asked.append((name, configuration, options))
        return ["train"]

    monkeypatch.setattr(datasets, "get_dataset_split_names", names)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **b: asked.append((*a, b)) or iter([{"text": "x"}]))
    found = read_documents(Source(kind="hub", name="a/b", configuration="en", revision="123"))
    assert list(found["train"]) == ["x"]
    assert asked == [
        ("a/b", "en", {"revision": "123"}),
        ("a/b", "en", {"split": "train", "streaming": True, "revision": "123"}),
    ]


# ---- the commands ------------------------------------------------------------------------------------


def test_from_files_to_a_dataset(tmp_path):
    """Given test sentences are in no other split; what was read and left out is on record, with the licence."""
    train = text_file(tmp_path / "train.tsv", map("\t".join, [*PAIRS, (PAIRS[0][0], "otherwise")]))
    test = text_file(tmp_path / "test.tsv", map("\t".join, PAIRS[:4]))
    options = {"source_kind": "files", "source_train": train, "source_test": test, "source_licence": "ours"}
    options |= {"source": "mine", "train": 20, "validation": 5, "test": 4}
    run("make_translation", **options, output=tmp_path / "data")
    splits, facts = load(tmp_path / "data")
    assert {name: len(split) for name, split in splits.items()} == {"train": 20, "validation": 5, "test": 4}
    prompts = [prompt for split in splits.values() for prompt in split["prompt"]]
    assert len(set(prompts)) == 29 and all(prompt.endswith(" Translation: ") for prompt in prompts)
    both = {tuple(row.values()) for split in splits.values() for row in split}
    assert both <= {(en + " Translation: ", fr) for en, fr in PAIRS}
    assert facts["left_out"] == {"test": 0, "train": 5} and facts["source"]["licence"] == "ours"
    assert facts["settings"]["family"] == "translation"

    run("make_translation", **options, source_digest=facts["source_digest"], output=tmp_path / "again")
    assert load(tmp_path / "again")[1]["digest"] == facts["digest"]
    failed = run("make_translation", **options, source_digest="0" * 64, output=tmp_path / "no", check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1) and "digest" in failed.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_a_new_corpus_needs_an_entry_and_nothing_else(tmp_path):
    """Through Snakemake, from the files to examples; an edited file makes them again."""
    make_tree(tmp_path)
    corpus = text_file(tmp_path / "mine.tsv", map("\t".join, PAIRS))
    data = "{family: translation, source: mine, vocabulary: 300, train: 20, validation: 5, test: 5}"
    rest = "noise: {kind: random}, evaluation: {corruptions: [random]}, model: {context: 256}"
    config = ["sources={mine: {kind: files, train: [mine.tsv]}}", f"tasks={{mine: {{data: {data}, {rest}}}}}"]
    words = (tmp_path, "results/default/mine/examples")
    snakemake(*words, config=config)
    examples, facts = load(tmp_path / "results/default/mine/examples")
    assert len(examples["train"]) == 20 and facts["family"] == "translation"
    text_file(corpus, map("\t".join, PAIRS[::-1]))
    planned = snakemake(*words, "--dry-run", config=config)
    assert "make_dataset" in planned.stdout + planned.stderr
    corpus.unlink()
    assert snakemake(*words, config=config, status=1).stderr.splitlines()[-1] == (
        "error: 'mine.tsv' is not there (task mine, sources.mine): put it there, or name another"
    )


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.xml", "a.csv.gz", "a.jsonl"])
def test_files_of_rows_are_not_two_sides_of_a_corpus(tmp_path, name):
    other = tmp_path / ("b.txt" if name == "a.jsonl" else f"b.{name[2:]}")
    with pytest.raises(UserError, match="is not one side of a corpus"):
        read_pairs(files(tmp_path / name, other), EN_FR)


def test_the_case_of_an_ending_makes_no_other_kind(tmp_path):
    (tmp_path / "a.TSV").write_text("one\tun\n")
    (tmp_path / "b.JSONL").write_text('{"en": "two", "fr": "deux"}\n')
    read = read_pairs(files(tmp_path / "a.TSV", tmp_path / "b.JSONL"), EN_FR)
    assert read == {"train": [("one", "un"), ("two", "deux")]}


def test_a_table_called_a_text_and_a_header_are_refused(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one\tun\ntwo\tdeux\n")
    with pytest.raises(UserError, match="a.txt, line 1: it has a tab: name a table of pairs .tsv"):
        read_pairs(files(tmp_path / "a.txt", tmp_path / "b.txt"), EN_FR)
    for header in ("en\tfr", "Source\tTarget", "English\tFrench"):
        (tmp_path / "a.tsv").write_text(f"{header}\none\tun\n")
        with pytest.raises(UserError, match="a.tsv, line 1: .* names the columns, and is no pair: delete that line"):
            read_pairs(files(tmp_path / "a.tsv"), EN_FR)
