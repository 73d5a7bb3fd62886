"""Text to token ids and back, without loss. ``<bkspc>`` is no token: its action id is the vocabulary size."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import tokenizers

from sequencematch.errors import UserError
from sequencematch.store.files import read_json, read_text, reason, write_json, write_text_atomically
from sequencematch.store.hub import cannot_load, check_source

BKSPC = "<bkspc>"  # its name in the tokenizer of an exported model, where it is a token
SPECIALS = {"pad": "<pad>", "bos": "<bos>", "eos": "<eos>"}  # ids 0, 1, 2 of our own tokenizers
DIGITS = "0123456789"
MOST_TOKENS = 2**24
MOST_GROWTH = 2**10  # characters of a normalised text for each one of the text
# Words with the spaces and stops around them, operators with theirs: few tokens a sequence.
WORDS = re.compile(r"[,.?]? ?[A-Za-z]+:? ?| [-+*] |, ")


def deletion_name(count: int) -> str:
    """The name of the action that deletes so many tokens."""
    return BKSPC if count == 1 else f"<bkspc_{count}>"


def learned_deletions(config, rows: int) -> int:
    """How many of a network's rows, the last ones, are deletions by its configuration: it is an exported model's."""
    named = getattr(config, "bkspc_token_id", None)
    ids = named if isinstance(named, list) else [named]
    return len(ids) if len(ids) < rows and ids == list(range(rows - len(ids), rows)) else 0


class Tokenizer:
    """A fast tokenizer with its special tokens: ours, or the one in a pretrained model's folder.

    It encodes every text alone and whole: truncation, padding and subword sampling (BPE dropout) are switched off.
    """

    def __init__(self, fast: tokenizers.Tokenizer, specials: dict[str, str], bkspc: int | None = None, context=None):
        """Wrap a fast tokenizer.

        specials: the texts of ``pad``, ``bos`` and ``eos``, all in the vocabulary. bkspc: the id of ``<bkspc>``, which
        is the model's number of unembedding rows; it must be given where the model has more rows than the tokenizer has
        tokens. context: the largest number of tokens that a pretrained model takes.

        Raises UserError if a token's id is that of ``<bkspc>`` or above, because the model has no row for it.
        """
        _check_growth(fast)
        make_deterministic(fast)
        fast.encode_special_tokens = True  # a special token's name inside a text is plain text
        self._fast, self._specials = fast, specials
        self.context: int | None = context
        ids = fast.get_vocab(with_added_tokens=True)
        self.special_ids = {name: ids[token] for name, token in specials.items()}
        #: The highest token id plus 1. Some ids below it may have no token.
        self.size = max(ids.values(), default=-1) + 1
        self.bkspc = self.size if bkspc is None else bkspc
        beyond = sorted((i, token) for token, i in ids.items() if i >= self.bkspc)
        if beyond:
            listed = ", ".join(f"'{token}' ({i})" for i, token in beyond[:3]) + ", ..." * (len(beyond) > 3)
            raise UserError(
                f"the network has {self.bkspc} rows, and the tokenizer has tokens with ids beyond them: {listed}; "
                "give the network a row for each token (transformers' resize_token_embeddings), or remove these tokens"
            )
        special = {i for i, token in fast.get_added_tokens_decoder().items() if token.special}
        #: The ids of all tokens that are not special, in order: what noise may write.
        self.ordinary_ids = sorted({*ids.values()} - special - {*self.special_ids.values()})

    def encode(self, text: str) -> list[int]:
        """Token ids of the text alone. Raises UserError at a character that the vocabulary cannot express."""
        return self._encoding(text).ids

    def encode_with_ends(self, text: str) -> list[tuple[int, int]]:
        """The token ids of the text, and where in it (in characters) each token ends."""
        found = self._encoding(text)
        return [(token, end) for token, (_, end) in zip(found.ids, found.offsets, strict=True)]

    def _encoding(self, text: str) -> tokenizers.Encoding:
        def unknown(error: BaseException) -> UserError:
            characters = sorted(c for c in set(text) if self.id(c) is None)[:20]
            return UserError(
                f"the tokenizer ({reason(error)}) does not know the character(s) {', '.join(map(repr, characters))} "
                f"of the text {text[:200]!r}: train it on data that has them, or choose another one"
            )

        with _library(unknown):  # which raises nothing more specific
            return self._fast.encode(text, add_special_tokens=False)

    def prompt(self, text: str) -> list[int]:
        """``<bos>`` and the text."""
        return [self.special_ids["bos"], *self.encode(text)]

    def completion(self, text: str) -> list[int]:
        """The text and ``<eos>``."""
        return [*self.encode(text), self.special_ids["eos"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; special tokens are dropped."""
        special = self.special_ids.values()  # a foreign tokenizer may not mark them as special
        return self._decoded([token for token in ids if token not in special])

    def render(self, actions: Sequence[int]) -> str:
        """Actions for a reader's eye, deletions and special tokens written out: ``2<bkspc>31<bkspc_2>4<eos>``."""
        parts: list[str] = []
        for deleting, run in groupby(actions, key=lambda action: action >= self.bkspc):
            if deleting:
                parts += [deletion_name(action - self.bkspc + 1) for action in run]
            else:  # together: one token may hold half a character
                parts.append(self._decoded(list(run), skip_special_tokens=False))
        return "".join(parts)

    def _decoded(self, ids: list[int], **options) -> str:
        with _library(lambda error: UserError(f"the tokenizer cannot decode ({reason(error)}): choose another one")):
            return self._fast.decode(ids, **options)

    def id(self, token: str) -> int | None:
        """The id of a token by its text; None where the vocabulary has no such token."""
        return self._fast.token_to_id(token)

    def check_belongs(self, bkspc: int, own: Path | str, model: Path | str) -> None:
        """Raises UserError where the ``bkspc`` of a model in the folder ``model`` is not this tokenizer's (``own``)."""
        if self.bkspc != bkspc:
            raise UserError(
                f"<bkspc> is action {self.bkspc} of the tokenizer in '{own}' and {bkspc} of the model in '{model}': "
                "give the tokenizer that the model was trained with"
            )

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers loads as well."""
        folder = Path(folder)
        config: dict[str, str | int] = {f"{name}_token": token for name, token in self._specials.items()}
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

    Text is cut into the longest known words, or else characters: lossless for every text over the characters seen.
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

    ``eos`` takes the place of a missing ``bos`` or ``pad``. Raises UserError if the folder holds no valid tokenizer.
    """
    folder = Path(folder)
    text, config = read_text(folder / "tokenizer.json"), read_json(folder / "tokenizer_config.json")
    damaged = f"the tokenizer in '{folder}' is damaged"
    with _library(lambda error: UserError(f"{damaged} ({reason(error)}): delete it and run again")):
        fast = tokenizers.Tokenizer.from_str(text)
        named = {name: _text(config.get(f"{name}_token")) for name in SPECIALS}
        bkspc, context = (_whole(config.get(name)) for name in ("bkspc_id", "model_max_length"))
        largest = max([bkspc or 0, *fast.get_vocab().values()])
        if largest >= MOST_TOKENS or (context is not None and context < 1):
            raise ValueError(f"token ids reach {largest}, and texts {context} tokens")
    return Tokenizer(fast, _with_stand_ins(named, fast, str(folder)), bkspc, context)


def pretrained_tokenizer(source: str, revision: str = "main", trust_remote_code: bool = False) -> Tokenizer:
    """The tokenizer of a model on the hub or in a local folder; ``<bkspc>`` is the id after the model's rows.

    Raises UserError if it cannot be loaded, or has tokens that the model has no rows for.
    """
    from transformers import AutoConfig, AutoTokenizer

    check_source("tokenizer", source)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    with _library(lambda error: cannot_load("tokenizer", source, error)):  # a model's own code may raise anything
        config = AutoConfig.from_pretrained(source, **options)
        found = AutoTokenizer.from_pretrained(source, **options)
    rows, fast = getattr(config, "vocab_size", None), getattr(found, "backend_tokenizer", None)
    if not isinstance(rows, int):
        raise UserError(
            f"'{source}' is no causal language model of text alone ({config.model_type}): it has no vocab_size; "
            "choose a text-only model"
        )
    if fast is None:
        raise UserError(
            f"the tokenizer of '{source}' ({type(found).__name__}) has no fast version: choose another model"
        )
    if learned := learned_deletions(config, rows):  # an exported model, to be trained on
        rows -= learned
        fast = _without_deletions(fast, rows, learned)
    named = {name: getattr(found, f"{name}_token") for name in SPECIALS}
    specials = _with_stand_ins(named, fast, source)
    try:
        tokenizer = Tokenizer(fast, specials, rows, getattr(config, "max_position_embeddings", None))
    except UserError as error:
        raise UserError(f"the tokenizer of '{source}' does not fit its network: {error}") from None
    # Without its files, transformers makes some tokenizers of special tokens alone, and says nothing.
    files = [*type(found).vocab_files_names.values(), "tokenizer.json"]
    if not tokenizer.ordinary_ids or (Path(source).is_dir() and not any((Path(source) / f).exists() for f in files)):
        raise UserError(f"'{source}' holds no tokenizer: put its files ({', '.join(dict.fromkeys(files))}) there")
    return tokenizer


def tokenizer_of(processing_class, policy) -> Tokenizer:
    """A copy of transformers' fast tokenizer as ours. Raises UserError if it is not fast or does not fit the policy."""
    fast = getattr(processing_class, "backend_tokenizer", None)
    name = type(processing_class).__name__
    if fast is None:
        raise UserError(f"{name} is no fast tokenizer, which is needed here: load it with AutoTokenizer")
    fast = _without_deletions(fast, policy.bkspc, policy.deletions)
    named = {special: getattr(processing_class, f"{special}_token") for special in SPECIALS}
    return Tokenizer(fast, _with_stand_ins(named, fast, name), policy.bkspc, policy.context)


@contextmanager
def _library(sentence: Callable[[BaseException], UserError]) -> Iterator[None]:
    """Whatever the block raises becomes the error that ``sentence`` makes of it; panics in Rust are no Exceptions."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, UserError | MemoryError):
            raise
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise sentence(error) from error


def _check_growth(fast: tokenizers.Tokenizer) -> None:
    """Raises UserError where the rules of a tokenizer may make far more of a text: a few lines could fill a memory."""
    parts = (part for part in (fast.normalizer, fast.decoder) if part is not None)
    growth, waiting = 1, [json.loads(part.__getstate__()) for part in parts]
    while waiting:
        rule = waiting.pop()
        if isinstance(rule, list):
            waiting += rule
        elif isinstance(rule, dict):
            waiting += rule.values()
            growth *= max(1, len(rule.get("content") or ""), len(rule.get("prepend") or ""))
    if growth > MOST_GROWTH:
        raise UserError(f"a tokenizer that may write {growth:.3g} characters for one is not used: choose another one")


def make_deterministic(fast: tokenizers.Tokenizer) -> None:
    """Switch off truncation, padding and the sampling of subwords."""
    fast.no_truncation()
    fast.no_padding()
    for sampling in ("dropout", "alpha", "nbest_size"):  # of BPE; of Unigram
        if getattr(fast.model, sampling, None) is not None:
            setattr(fast.model, sampling, None)


def _without_deletions(fast: tokenizers.Tokenizer, bkspc: int, deletions: int) -> tokenizers.Tokenizer:
    """A copy in which deletions are no tokens, if they are those of an exported model's tokenizer from ``bkspc`` on."""
    state = json.loads(fast.to_str())
    names = {bkspc + k: deletion_name(k + 1) for k in range(deletions)}
    state["added_tokens"] = [token for token in state["added_tokens"] if names.get(token["id"]) != token["content"]]
    return tokenizers.Tokenizer.from_str(json.dumps(state))


def _with_stand_ins(named: dict[str, str | None], fast: tokenizers.Tokenizer, where: str) -> dict[str, str]:
    """The special tokens that a tokenizer names, ``eos`` in the place of missing ones."""
    specials = {name: token or named["eos"] for name, token in named.items()}
    found = {name: token for name, token in specials.items() if token and fast.token_to_id(token) is not None}
    if found.keys() != specials.keys():
        raise UserError(
            f"the tokenizer of '{where}' names no end token (eos_token) that is in its vocabulary: set it in its "
            "tokenizer_config.json, or choose another model"
        )
    return found


def _text(token: str | dict | None) -> str | None:
    """A special token's text; older transformers wrote it as a dictionary."""
    text = token["content"] if isinstance(token, dict) else token
    if not isinstance(text, str | None):
        raise TypeError(f"{token!r} is no special token")
    return text


def _whole(value: int | float | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value != int(value)):
        raise TypeError(f"{value!r} is no whole number")
    return None if value is None else int(value)
