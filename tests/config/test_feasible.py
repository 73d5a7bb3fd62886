"""What would end a job after hours of work is refused with the configuration."""

import json

import pytest
from support.configuration import BASE, refusal

from sequencematch.config.load import load_config
from sequencematch.settings.decoding_names import decoding_options


def pretrained(folder, name="config.json", **values):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values))
    return {"model": {"source": str(folder)}}


@pytest.mark.parametrize("key", ["max_position_embeddings", "n_positions", "max_seq_len"])
def test_actions_fit_the_context_of_a_pretrained_model(tmp_path, key):
    overlay = pretrained(tmp_path / "m", model_type="llama", **{key: 200})
    assert load_config(BASE, ("o", overlay))
    said = refusal(overlay | {"evaluation": {"max_actions": 200}})
    assert (
        f"evaluation.max_actions is 200, but must be at most 199: the context of {tmp_path / 'm'} (200 tokens)" in said
    )
    said = refusal(overlay | {"tasks": {"text": {"rollouts": {"max_actions": 169}}}})
    assert "tasks.text.rollouts.max_actions is 169, but must be at most 168" in said
    said = refusal(pretrained(tmp_path / "short", **{key: 90}))
    assert "tasks.translation.data: a prompt of 48 tokens and 48 to come after it are more than the context of" in said


def test_a_context_that_nobody_knows_is_left_to_the_job(tmp_path):
    for values in ({}, {"max_position_embeddings": "many"}):
        assert load_config(BASE, ("o", pretrained(tmp_path / f"m{len(values)}", **values)))
    assert load_config(BASE, ("o", {"model": {"source": "somebody/something"}}))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "config.json' is no valid JSON"),
        ('{"model_type": "llava", "text_config": {}}', "no causal language model of text alone (llava)"),
        ('{"model_type": "llama", "num_hidden_layers": 1000000000}', "describes no network that can be"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_with_the_configuration(tmp_path, content, sentence):
    (tmp_path / "config.json").write_text(content)
    for section, key in (("model", "source"), ("evaluation", "judge")):
        said = refusal({section: {key: str(tmp_path)}})
        assert said.startswith(f"overlay.yaml: {section}.{key} (task mul): ") and sentence in said


@pytest.mark.parametrize(("section", "key"), [("model", "source"), ("evaluation", "judge")])
def test_a_model_that_is_not_there_is_refused_before_anything_runs(tmp_path, section, key):
    for source in ("./nowhere", str(tmp_path / "nowhere"), "models/of/mine"):
        said = refusal({section: {key: source}})
        assert f"{section}.{key} (task mul): cannot load the model of '{source}': there is no such folder" in said
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf/model.gguf").touch()
    assert "GGUF files cannot be trained" in refusal({section: {key: str(tmp_path / "gguf")}})


def test_a_language_whose_tokenizer_is_missing_is_refused_with_the_configuration(monkeypatch, tmp_path):
    monkeypatch.setattr("sequencematch.results.bleu.find_spec", lambda module: None)
    (tmp_path / "a.tsv").write_text("a\tb\n")
    mine = {"sources": {"mine": {"kind": "files", "train": [str(tmp_path / "a.tsv")]}}}
    task = {"tasks": {"translation": {"data": {"source": "mine", "languages": ["en", "ja"]}}}}
    said = refusal(mine | task)
    assert "tasks.translation.data.languages: BLEU of translations into 'ja' needs" in said and "sacrebleu[ja]" in said


@pytest.mark.parametrize("kind", ["temperature", "bkspc_bias", "surprise", "best_of"])
@pytest.mark.parametrize("written", ["100000000", "1000000.0", "0.00001", "123456789", "1e+06", "2e5", "0.123456789"])
def test_a_number_is_told_back_in_a_form_that_is_accepted(kind, written):
    """Whatever is refused for its form names the form that is accepted."""
    name = f"{kind}={written}"
    for _ in range(2):
        try:
            assert kind in decoding_options(name)
            return
        except ValueError as error:
            if "must be written" not in str(error):
                return  # out of bounds, or '+' joins two decodings
            name = str(error).split("'")[3]
    raise AssertionError(f"{name} is refused although it was proposed")


def test_the_file_that_is_to_blame_is_that_of_the_value():
    for overlay, sentence in (
        (
            {"jobs": {"train": {"gpu": 99}}},
            "optimiser.batch gives 64 examples per step, fewer than there are processes (99)",
        ),
        (
            {"tasks": {"translation": {"data": {"languages": ["en", "de"]}}}},
            "sources.phrases: 'phrases' generates pairs in en and fr, not in en and de",
        ),
    ):
        assert refusal(overlay).startswith(f"{BASE}: {sentence}")
