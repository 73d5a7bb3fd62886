"""Nothing from outside is trusted: pickles, YAML, names that become paths, and what may reach a log."""

import hashlib
import http.server
import json
import re
import threading

import pytest
import torch
from support import reduced
from support.malicious import Malicious
from support.workflow import ROOT, launch

from sequencematch.config.load import load_config
from sequencematch.errors import UserError
from sequencematch.training.checkpoints import load_checkpoint


def test_tensors_are_loaded_without_running_code():
    for file in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]):
        text = file.read_text()
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, f"{file}: {call}"
        assert not re.search(r"\bpickle\.(load|loads|Unpickler)\b|^import dill|cloudpickle|joblib", text, re.M), file
        assert not re.search(r"yaml\.(unsafe_load|full_load|load)\(|UnsafeLoader|FullLoader", text), file
        assert not re.search(r"(?<![\w.])(eval|exec)\(|\bos\.system\(|shell=True", text), file


def test_a_malicious_checkpoint_is_named_and_passed_over(tmp_path, capsys):
    """Even with a digest that fits: whoever can write the one can write the other."""
    file = tmp_path / "step-00000003.pt"
    torch.save(Malicious(tmp_path / "ran"), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_suffix(".json").write_text(json.dumps({"step": 3, "sha256": digest}))
    assert load_checkpoint(tmp_path) is None
    assert not (tmp_path / "ran").exists()
    assert capsys.readouterr().err.startswith(f"warning: checkpoint '{file}' is damaged (")


@pytest.mark.parametrize("manifest", ["[]", "{}", '{"step": 3', '{"step": 3, "sha256": 7}'])
def test_a_damaged_manifest_is_passed_over(manifest, tmp_path):
    (tmp_path / "step-00000003.pt").write_bytes(b"not a checkpoint")
    (tmp_path / "step-00000003.json").write_text(manifest)
    assert load_checkpoint(tmp_path) is None


NAMED = {
    "scale": "scale: {}",
    "tasks": "tasks: {{{}: {{data: {{family: arithmetic}}}}}}",
    "methods": "methods: {{{}: {{loss: mle}}}}",
    "tables": "tables: {{{}: {{title: t, task: mul, methods: [mle]}}}}",
}


@pytest.mark.parametrize("group", NAMED)
@pytest.mark.parametrize("name", ["../../x", ".hidden", "a b", "a\n", "-x", ""])
def test_names_cannot_lead_out_of_the_results(tmp_path, group, name):
    """Scales, tasks, methods and tables are folders or files of the results, and words of commands."""
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(NAMED[group].format(json.dumps(name)))
    with pytest.raises(UserError) as error:
        load_config(ROOT / "config.yaml", overlay)
    assert str(error.value).startswith(f"{overlay}: {group}") and "\n" not in str(error.value).replace("a\n", "")


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub that says what it has, gives none of it, and remembers what it was shown."""

    shown: list[str] = []

    def do_GET(self):
        self.shown.append(self.headers.get("Authorization", ""))
        told = self.path.startswith("/api/") and "gated" in self.path
        self.send_response(200 if told else 401)
        self.end_headers()
        if told:
            self.wfile.write(b'{"id": "someone/gated"}')

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sentence", "logged"),
    [
        ("someone/hidden", "'someone/hidden' (model.source) is not shown to you", False),  # before any work
        ("someone/gated", "cannot load the tokenizer of 'someone/gated'", True),  # by the job
    ],
)
def test_a_token_reaches_the_hub_but_no_log(tmp_path, name, sentence, logged):
    token = "hf_" + "secret" * 5
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "HF_TOKEN": token,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
    }
    settings = ("scale=smoke", f"model={{source: {name}}}")
    reduced.make_tree(tmp_path)
    Hub.shown.clear()
    target = "results/smoke/mul/tokenizer"
    done = launch(tmp_path, target, "--verbose", config=settings, status=1, **environment)
    server.shutdown()
    assert sentence in done.stdout + done.stderr
    assert f"Bearer {token}" in Hub.shown
    written = [file for file in tmp_path.rglob("*") if file.is_file() and ROOT not in file.resolve().parents]
    if logged:
        assert any(file.suffix == ".log" and token.encode() not in file.read_bytes() for file in written)
    for file in written:
        assert token.encode() not in file.read_bytes(), file
    assert token not in done.stdout + done.stderr
