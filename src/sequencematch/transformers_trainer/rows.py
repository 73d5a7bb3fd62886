"""Rows in TRL's formats as examples of token ids, by the tokenizer that is saved with the model."""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken

from sequencematch.data.examples import Example
from sequencematch.data.tokenizer import BKSPC, deletion_name, make_deterministic
from sequencematch.errors import UserError


def with_deletions(processing_class, ids: Sequence[int]):
    """A copy of a fast tokenizer with deletions as these tokens, padding on the left. Raises UserError if it cannot."""
    names = [deletion_name(k) for k in range(1, len(ids) + 1)]
    tokenizer = copy.deepcopy(processing_class)
    make_deterministic(tokenizer.backend_tokenizer)
    tokenizer.padding_side = "left"  # generation begins at the end of each prompt
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if BKSPC not in tokenizer.get_vocab():
        # Some networks have more rows than their tokenizer has tokens.
        new = [*(f"<unused_{k}>" for k in range(len(tokenizer), ids[0])), *names]
        tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in new], special_tokens=True)
    if tokenizer.convert_tokens_to_ids(names) != list(ids):
        raise UserError(f"the tokenizer has a token named {BKSPC}, or gaps: {BKSPC} must be token {ids[0]}")
    return tokenizer


@dataclass
class RowEncoder:
    """Encodes rows with ``prompt`` and ``completion``: two texts, or two lists of messages."""

    tokenizer: Any  # of transformers, as ``with_deletions`` makes it
    bos: int
    eos: int
    bkspc: int
    #: What ends answers. A special token by which a chat template ends one is added: rollouts must end there too.
    ends: set[int]

    def examples(self, rows: Iterable[Mapping], context: int) -> list[Example]:
        """An example for each row of texts, and for each message of the assistant in a completion.

        Raises UserError with the number of the first row that cannot be trained on, or has more than ``context``
        tokens, and where there are no rows.
        """
        examples = []
        for number, row in enumerate(rows, start=1):
            where = f"row {number} of the dataset"
            if missing := [name for name in ("prompt", "completion") if name not in row]:
                raise UserError(f"{where} has no '{missing[0]}': each row needs a prompt and a completion")
            try:
                found = list(self._of_row(row))
            except UserError as error:
                raise UserError(f"{where}: {error}") from error
            if (tokens := max(len(e.prompt) + len(e.completion) for e in found)) > context:
                raise UserError(
                    f"{where} takes {tokens} tokens, and the model's context is {context}: shorten it, or leave it out"
                )
            examples += found
        if not examples:
            raise UserError("the dataset holds no rows: give rows with 'prompt' and 'completion'")
        return examples

    def _of_row(self, row: Mapping) -> Iterator[Example]:
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(prompt, str) and isinstance(completion, str):
            yield self._example(self._ids(prompt, add_special_tokens=True), self._ids(completion))
        elif all(isinstance(value, list) and value for value in (prompt, completion)) and all(
            isinstance(message, Mapping) for message in (*prompt, *completion)
        ):
            yield from self._turns(row, [*prompt, *completion], len(prompt))
        else:
            raise UserError("prompt and completion must be two texts or two lists of messages")

    def _turns(self, row: Mapping, messages: Sequence[Mapping], first: int) -> Iterator[Example]:
        turns = [k for k in range(first, len(messages)) if messages[k].get("role") == "assistant"]
        if not turns:
            raise UserError("its completion has no message of the assistant")
        for turn in turns:
            asked = self._rendered(row, messages[:turn], add_generation_prompt=True)
            whole = self._rendered(row, messages[: turn + 1])
            if not whole.startswith(asked):
                raise UserError("the chat template changes the prompt when an answer follows")
            prompt, ids = self._ids(asked), self._ids(whole)
            # A token that reaches over the prompt's end is no token that an answer to the prompt could begin with.
            whole_tokens = ids[: len(prompt)] == prompt
            yield self._example(prompt, ids[len(prompt) :] if whole_tokens else self._ids(whole[len(asked) :]))

    def _rendered(self, row: Mapping, messages: Sequence[Mapping], **options) -> str:
        try:
            tools, more = (_read(row.get(name)) for name in ("tools", "chat_template_kwargs"))
            options |= {"tools": tools, **(more or {})}
            return self.tokenizer.apply_chat_template(messages, tokenize=False, **options)
        except Exception as error:  # a template may raise anything
            raise UserError(f"the tokenizer's chat template does not take its messages ({error})") from error

    def _ids(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Special tokens in a text, which a chat template has rendered, are these tokens."""
        try:
            ids = self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        except Exception as error:  # of the tokenizer: a character that its vocabulary cannot express
            raise UserError(f"the tokenizer cannot encode {text[:80]!r} ({error})") from error
        if max(ids, default=0) >= self.bkspc:
            raise UserError(f"it contains {BKSPC}, the name of the action that deletes: mistakes are put in by eta")
        return ids

    def _example(self, prompt: list[int], answer: list[int]) -> Example:
        if prompt[:2] == [self.bos, self.bos]:  # the template's, and the tokenizer's own
            prompt = prompt[1:]
        prompt = prompt or [self.bos]  # the first state
        answer = self._ended(answer)
        return Example(prompt, answer, 0, self._decoded(answer))

    def _ended(self, answer: list[int]) -> list[int]:
        """The answer up to its end. What a template writes after it, a new line, is left out."""
        special = {token for token, added in self.tokenizer.added_tokens_decoder.items() if added.special}
        end = next((k for k, token in enumerate(answer) if token in self.ends), None)
        if end is None:
            end = max((k for k, token in enumerate(answer) if token in special), default=None)
            if end is None or self._decoded(answer[end + 1 :]).strip():
                return [*answer, self.eos]
            self.ends.add(answer[end])
        if self._decoded(answer[end + 1 :]).strip():
            raise UserError("its completion goes on after the token that ends it: give each answer a row of its own")
        return answer[: end + 1]

    def _decoded(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def _read(column: Any) -> Any:
    """What a column holds, which may be stored as JSON: a table has one type for each."""
    return json.loads(column) if isinstance(column, str) else column
