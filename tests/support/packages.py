"""Tiny packages of each client, and a tiny GGUF file, made on the spot."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import tokenizers


def wheel(path: Path, files: dict[str, bytes], name: str = "tiny", version: str = "1.0") -> Path:
    """A wheel that pip takes for one."""
    info = f"{name}-{version}.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in (files | metadata).items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return path


def tar(files: dict[str, bytes]) -> bytes:
    """An archive with these files, and a link that nobody should follow."""
    with io.BytesIO() as target:
        with tarfile.open(fileobj=target, mode="w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            link = tarfile.TarInfo("package/link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        return target.getvalue()


def npm_package(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(gzip.compress(tar(files), mtime=0))
    return path


def deb(path: Path, files: dict[str, bytes], data: bytes = b"") -> Path:
    """An ar archive as dpkg has it, of files or of ``data``; its first members are of odd and even sizes."""
    data = data or gzip.compress(tar({f"./{name}": content for name, content in files.items()}), mtime=0)
    with path.open("wb") as archive:
        archive.write(b"!<arch>\n")
        for name, content in (("debian-binary", b"2.0\n"), ("control.tar.gz", b"odd"), ("data.tar.gz", data)):
            archive.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
            archive.write(content + b"\n" * (len(content) % 2))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def gguf_file(path: Path, lm, more=lambda writer: None, architecture: str = "llama") -> Path:
    """A tiny Llama (``networks.tiny_llama``) and a byte-level tokenizer of 260 tokens, as llama.cpp would have them.

    more: adds keys and tensors to the writer of the gguf package.
    """
    import gguf

    config, tensors = lm.config, {name: t.detach().float().numpy() for name, t in lm.state_dict().items()}
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<|endoftext|>", "<start>", "<pad>", *letters, "ab"])
    writer.add_token_types([3, 3, 3, *[1] * 257])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(2)
    heads = config.num_attention_heads
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # llama.cpp interleaves the halves of rotary positions
            tensor = tensor.reshape(heads, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), tensor)
    more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
