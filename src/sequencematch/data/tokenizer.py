"""Text to token ids and back, without loss. ``<bkspc>`` is no token: its action id is the vocabulary size."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import tokenizers

from sequencematch.errors import UserError
from sequencematch.store.files import write_json, write_text_atomically
from sequencematch.store.hub import cannot_load

SPECIALS = {"pad": "<pad>", "bos": "<bos>", "eos": "<eos>"}  # ids 0, 1, 2 of our own tokenizers
DIGITS = "0123456789"
# Words with the spaces and stops around them, operators with theirs: few tokens a sequence.
WORDS = re.compile(r"[,.?]? ?[A-Za-z]+:? ?| [-+*] |, ")


class Tokenizer:
    """A fast tokenizer with its special tokens: ours, or the one in a pretrained model's folder."""

    def __init__(
        self,
        fast: tokenizers.Tokenizer,
        specials: dict[str, str],
        bkspc: int | None = None,
        context: int | None = None,
    ):
        """specials: the texts of ``pad``, ``bos`` and ``eos``, all in the vocabulary; bkspc: the id of ``<bkspc>``,
        where the model has more unembedding rows than the tokenizer has tokens (some are padded); context: most tokens
        that a pretrained model takes."""
        fast.encode_special_tokens = True  # a special token's name inside a text is plain text
        self._fast = fast
        self._specials = specials
        self.context = context
        self.special_ids = {name: fast.token_to_id(token) for name, token in specials.items()}
        self.bkspc = self.size if bkspc is None else bkspc

    @property
    def size(self) -> int:
        """Number of tokens in the vocabulary."""
        return self._fast.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of the text alone. Raises UserError at a character that the vocabulary cannot express."""
        try:
            return self._fast.encode(text, add_special_tokens=False).ids
        except Exception as error:  # the library raises nothing more specific
            unknown = sorted(c for c in set(text) if self.id(c) is None)
            raise UserError(
                f"the tokenizer does not know the character(s) {', '.join(map(repr, unknown))} "
                f"of the text {text!r}: train it on data that has them"
            ) from error

    def prompt(self, text: str) -> list[int]:
        """``<bos>`` and the text."""
        return [self.special_ids["bos"], *self.encode(text)]

    def completion(self, text: str) -> list[int]:
        """The text and ``<eos>``."""
        return [*self.encode(text), self.special_ids["eos"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; special tokens are dropped."""
        return self._fast.decode(list(ids))

    def render(self, actions: Sequence[int]) -> str:
        """Actions for a reader's eye, ``<bkspc>`` and special tokens written out: ``2<bkspc>31<eos>``."""
        # Runs of tokens together: one token may hold half a character.
        runs = groupby(actions, key=lambda action: action == self.bkspc)
        return "".join(
            "<bkspc>" * len(list(run)) if bkspc else self._fast.decode(list(run), skip_special_tokens=False)
            for bkspc, run in runs
        )

    def id(self, token: str) -> int | None:
        """The id of a token by its text; None where the vocabulary has no such token."""
        return self._fast.token_to_id(token)

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers loads as well."""
        folder = Path(folder)
        config = {f"{name}_token": token for name, token in self._specials.items()}
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        config["bkspc_id"] = self.bkspc
        if self.context is not None:
            config["model_max_length"] = self.context
        write_text_atomically(folder / "tokenizer.json", self._fast.to_str(pretty=True))
        write_json(folder / "tokenizer_config.json", config)


def train_byte_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of up to ``vocabulary`` tokens, made of the texts: lossless for any text.

    Its first tokens are the special ones and the 256 bytes; where the texts have nothing left to merge, it ends early.
    """
    fast = tokenizers.Tokenizer(tokenizers.models.BPE())
    fast.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS.values()),
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    fast.train_from_iterator(texts, trainer)
    return Tokenizer(fast, SPECIALS)


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of the texts' words and operators, their single characters, and the ten digits.

    Text is cut into the longest known words, and into characters where there is none: lossless for every
    text over the characters seen.
    """
    texts = list(texts)
    words = sorted({word for text in texts for word in WORDS.findall(text) if len(word) > 1})
    characters = sorted({*DIGITS, *"".join(texts)})
    vocabulary = {token: i for i, token in enumerate([*SPECIALS.values(), *characters, *words])}
    fast = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary))
    fast.add_special_tokens(list(SPECIALS.values()))
    longest_first = sorted(words, key=len, reverse=True)
    pieces = tokenizers.Regex("|".join([*map(re.escape, longest_first), r"[\s\S]"]))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Split(pieces, "isolated")
    fast.decoder = tokenizers.decoders.Fuse()
    return Tokenizer(fast, SPECIALS)


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """The tokenizer in a folder: ours or a pretrained model's.

    Where a model names no ``bos`` or ``pad`` token, ``eos`` stands in for it. Raises UserError where the
    folder holds no sound tokenizer.
    """
    folder = Path(folder)
    try:
        fast = tokenizers.Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise UserError(f"no tokenizer in '{folder}' ({missing} is missing): run the step that makes it") from error
    except Exception as error:  # the library raises nothing more specific on a damaged file
        raise UserError(f"the tokenizer in '{folder}' is damaged ({error}): delete it and run again") from error
    named = {name: _text(config.get(f"{name}_token")) for name in SPECIALS}
    specials = {name: token or named["eos"] for name, token in named.items()}
    if any(token is None or fast.token_to_id(token) is None for token in specials.values()):
        raise UserError(f"the tokenizer in '{folder}' names no eos_token that is in its vocabulary")
    return Tokenizer(fast, specials, config.get("bkspc_id"), config.get("model_max_length"))


def pretrained_tokenizer(source: str, revision: str = "main", trust_remote_code: bool = False) -> Tokenizer:
    """The tokenizer of a model on the hub or in a local folder; ``<bkspc>`` is the id after the model's rows.

    Raises UserError where it cannot be had.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        options = {"revision": revision, "trust_remote_code": trust_remote_code}
        config = AutoConfig.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        named = {name: getattr(tokenizer, f"{name}_token") or tokenizer.eos_token for name in SPECIALS}
        context = getattr(config, "max_position_embeddings", None)
        return Tokenizer(tokenizer.backend_tokenizer, named, config.vocab_size, context)
    except (OSError, ValueError, ImportError) as error:
        raise cannot_load("tokenizer", source, error) from error


def _text(token: str | dict | None) -> str | None:
    """A special token's text; older transformers wrote it as a dictionary."""
    return token["content"] if isinstance(token, dict) else token
