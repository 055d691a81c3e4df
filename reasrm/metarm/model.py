"""The MetaRM itself: one or several regression models over the same input, their mean the score.

Two readouts. `last_token` is RM-NLHF's: `AutoModelForSequenceClassification` with one output and no sigmoid; any
architecture that transformers can classify with, encoders included. `likelihood` is ours, for language models such as
the policy's base: a regression on the last hidden state and on how probable the model finds the critique, as the
probability of its least probable token and the geometric mean of all of them, everything trained. A shallow model knows
what it would have written only at its top, where no layer is left to compare that with what was written; these two
numbers are that comparison, and one false word in a long critique shows in the first.

Shapes: B rows, T tokens, M members. A folder is read from safetensors and JSON only.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from reasrm.config import parse_config
from reasrm.errors import ConfigError, InputError, InternalError
from reasrm.files import write_json_atomic
from reasrm.generation.adapters import merged_weights
from reasrm.generation.checkpoint import Checkpoint
from reasrm.hashing import derive_seed
from reasrm.metarm.card import CARD, MetaCard
from reasrm.metarm.inputs import Encoded, MetaEncoder
from reasrm.metarm.precision import ExactLinear, exact_head, read_head
from reasrm.strictjson import parse_object

__all__ = ["Batch", "Member", "MetaRM", "collate", "find_folder", "read_card"]

_READOUT = "readout.safetensors"
_SLOPE = 0.3
_GAIN = 30.0
"""AdamW moves every weight by about the learning rate; this lets the readout move faster than the body below it."""


class Batch(dict[str, torch.Tensor]):
    """Inputs of equal length, padded on the right: `input_ids`, `attention_mask`, `critique_mask`, each (B, T)."""


def collate(rows: Sequence[Encoded], pad_id: int, device: torch.device | None = None) -> Batch:
    """Pad rows on the right to the longest of them."""
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    attention, critique = torch.zeros_like(ids), torch.zeros_like(ids)
    for n, row in enumerate(rows):
        ids[n, : len(row.ids)] = torch.tensor(row.ids)
        attention[n, : len(row.ids)] = 1
        critique[n, row.start : len(row.ids)] = 1
    batch = {"input_ids": ids, "attention_mask": attention, "critique_mask": critique}
    return Batch({name: tensor.to(device) for name, tensor in batch.items()})


class Member(nn.Module):
    """One regression model.

    Args:
        backbone: A classifier with one output, or a language model for the readout `likelihood`.
        likelihood: Whether it is the latter.
    """

    def __init__(self, backbone: Any, *, likelihood: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.readout: nn.Linear | None = None
        if not likelihood:
            exact_head(backbone)
        else:
            self.readout = ExactLinear(backbone.config.get_text_config().hidden_size + 2, 1)
            # It begins as "what I would have written is good"; a slope of the wrong sign takes long to turn round.
            nn.init.zeros_(self.readout.weight)
            nn.init.constant_(self.readout.weight[:, -2:], _SLOPE / _GAIN)
            nn.init.constant_(self.readout.bias, _SLOPE / _GAIN)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, critique_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the scores, (B,), in float32."""
        if self.readout is None:
            logits = self.backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
            return logits[:, 0].float()  # type: ignore[no-any-return]
        out = self.backbone(
            input_ids=input_ids,
            attention_mask=attention_mask,
            output_hidden_states=True,
            use_cache=False,
            logits_to_keep=_predicting(critique_mask),
        )
        last = attention_mask.sum(1) - 1
        hidden_BD = out.hidden_states[-1][torch.arange(len(last), device=last.device), last].float()
        hidden_BD = nn.functional.layer_norm(hidden_BD, hidden_BD.shape[-1:]) / hidden_BD.shape[-1] ** 0.5
        likelihood_B2 = _likelihood(out.logits, input_ids, critique_mask)
        scores: torch.Tensor = self.readout(torch.cat([hidden_BD, likelihood_B2], dim=1))[:, 0]
        return _GAIN * scores


def _predicting(critique_mask: torch.Tensor) -> torch.Tensor:
    """Return the positions whose logits predict a critique token in any row, (T',)."""
    return critique_mask[:, 1:].any(0).nonzero()[:, 0]


def _likelihood(logits: torch.Tensor, input_ids: torch.Tensor, critique_mask: torch.Tensor) -> torch.Tensor:
    """Return the geometric mean and the least of the critique tokens' probabilities, (B, 2), in [0, 1]."""
    positions = _predicting(critique_mask)
    mask = critique_mask[:, positions + 1].bool()
    targets = input_ids[:, positions + 1]
    logits = logits.float()
    logprobs = logits.gather(2, targets[..., None])[..., 0] - logits.logsumexp(-1)
    mean = logprobs.masked_fill(~mask, 0.0).sum(1) / mask.sum(1).clamp(min=1)
    least = logprobs.masked_fill(~mask, 0.0).amin(1)
    return torch.stack([mean, least], dim=1).exp()


class MetaRM(nn.Module):
    """Members that share an input, and the card that says what their number means.

    Args:
        members: One or several models.
        card: Their identity.
        tokenizer: Of all of them.
    """

    def __init__(self, members: Sequence[Member], card: MetaCard, tokenizer: Any) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.card = card
        self.tokenizer = tokenizer
        self.encoder = MetaEncoder(tokenizer, card.spec, card.form, card.max_tokens)

    @property
    def pad_id(self) -> int:
        """What short rows are filled with."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the weights that training may move, by name: with LoRA the adapters and the readout."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def checkpoint_activations(self, **options: Any) -> None:
        """Compute activations again in the backward pass instead of keeping them.

        Args:
            options: Of `torch.utils.checkpoint`; without any it is the kind that is not reentrant.

        Raises:
            ConfigError: The architecture cannot.
        """
        for member in self.members:
            backbone: Any = member.backbone
            try:
                backbone.activation_checkpointing_enable(activation_checkpointing_kwargs=options or None)
            except ValueError as error:
                raise ConfigError(str(error), remedy="set gradient_checkpointing: false") from error

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Let activations be computed again although the model stays in evaluation mode, without dropout.

        transformers does so in training mode only, and looks at the mode of the layer; its parts keep theirs.
        """
        layers = [module for module in self.modules() if getattr(module, "gradient_checkpointing", False)]
        modes = [layer.training for layer in layers]
        for layer in layers:
            layer.training = True
        try:
            yield
        finally:
            for layer, mode in zip(layers, modes, strict=True):
                layer.training = mode

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, critique_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return every member's score, (B, M), in float32."""
        scores = [member(input_ids, attention_mask, critique_mask) for member in self.members]
        return torch.stack(scores, dim=1)

    @torch.no_grad()
    def score(self, rows: Sequence[Encoded], batch_size: int = 64) -> torch.Tensor:
        """Return every member's score of each row, (N, M), on the CPU; neighbours in length share a batch."""
        was_training = self.training
        self.eval()
        order = sorted(range(len(rows)), key=lambda n: len(rows[n].ids))
        found = torch.zeros(len(rows), len(self.members))
        for start in range(0, len(rows), batch_size):
            places = order[start : start + batch_size]
            batch = collate([rows[n] for n in places], self.pad_id, self.device)
            found[places] = self(**batch).cpu()
        self.train(was_training)
        return found

    # Made, read and written

    @classmethod
    def create(
        cls,
        base: Checkpoint,
        card: MetaCard,
        *,
        dtype: torch.dtype,
        seed: int,
        lora: Any | None = None,
        attn_implementation: str | None = None,
    ) -> MetaRM:
        """Make an untrained MetaRM from a base model; only its head is new, drawn from the seed and the member.

        Args:
            base: Folder or hub id.
            card: What it will be.
            dtype: Of the weights, but for those of the head, which are float32.
            seed: Of the heads and the adapters.
            lora: peft's config of the adapters; None trains all weights. A head is always trained whole.
            attn_implementation: As transformers names it; None leaves the choice to it.

        Raises:
            ConfigError: The model cannot be loaded, or not with this readout.
        """
        base.check()
        tokenizer = base.load("AutoTokenizer")
        members = []
        for number in range(card.members):
            with _drawing(seed, number):
                member = _load_member(
                    base, card, dtype, tokenizer, new_head=True, attn_implementation=attn_implementation
                )
                members.append(member if lora is None else _adapted(member, lora))
        return cls(members, card, tokenizer)

    @classmethod
    def open(
        cls, folder: Path, dtype: torch.dtype = torch.float32, lora: Any | None = None, seed: int = 0
    ) -> MetaRM:
        """Read a MetaRM's folder.

        Args:
            folder: With `metarm.json`.
            dtype: Of the weights, but for those of the head, which are float32.
            lora: peft's config, to train adapters on top of it.
            seed: Of the adapters.

        Raises:
            ConfigError: The folder is none, or is not whole.
        """
        card = read_card(folder)
        members = []
        for number in range(card.members):
            part = Checkpoint(str(folder / f"member-{number}"))
            part.check()
            if not Path(part.path, "tokenizer.json").is_file():
                # transformers would go on with an empty one.
                raise ConfigError(
                    "the folder has no tokenizer.json", place=part.path, remedy="copy the whole folder"
                )
            tokenizer = part.load("AutoTokenizer")
            member = _load_member(part, card, dtype, tokenizer, new_head=False)
            if member.readout is not None:
                _load_readout(member.readout, Path(part.path, _READOUT))
            elif dtype != torch.float32:
                read_head(member.backbone, Path(part.path))
            with _drawing(seed, number):
                members.append(member if lora is None else _adapted(member, lora))
        return cls(members, card, tokenizer)

    def save(self, folder: Path) -> None:
        """Write the folder: each member a model of transformers, adapters merged, then the card."""
        for number, member in enumerate(self.members):
            if not isinstance(member, Member):
                raise InternalError("a MetaRM holds members")
            part = folder / f"member-{number}"
            backbone = member.backbone
            if hasattr(backbone, "merge_and_unload"):
                state = {name: weight.cpu() for name, weight in merged_weights(backbone)}
                backbone.get_base_model().save_pretrained(part, state_dict=state)
            else:
                backbone.save_pretrained(part)
            self.tokenizer.save_pretrained(part)
            if member.readout is not None:
                state = {name: weight.detach().cpu() for name, weight in member.readout.state_dict().items()}
                save_file(state, part / _READOUT)
        write_json_atomic(folder / CARD, self.card.model_dump(mode="json"))


def find_folder(path: str | Path) -> Path:
    """Return a MetaRM's folder: the path itself, or `metarm/` in a run that made one."""
    folder = Path(path)
    return folder / "metarm" if (folder / "metarm" / CARD).is_file() else folder


def read_card(folder: Path) -> MetaCard:
    """Return the card of a MetaRM's folder.

    Raises:
        ConfigError: There is none, or it cannot be read.
    """
    if not (folder / CARD).is_file():
        raise ConfigError(
            f"the folder has no {CARD}",
            place=str(folder),
            remedy="train a MetaRM by `reasrm metarm`, and name its folder",
        )
    try:
        value = parse_object((folder / CARD).read_bytes(), str(folder / CARD))
    except InputError as error:
        raise ConfigError(
            "the file is damaged", place=str(folder / CARD), remedy="copy the whole folder"
        ) from error
    return parse_config(MetaCard, value, str(folder / CARD))


def _load_member(
    base: Checkpoint,
    card: MetaCard,
    dtype: torch.dtype,
    tokenizer: Any,
    *,
    new_head: bool,
    attn_implementation: str | None = None,
) -> Member:
    classifies = card.readout == "last_token"
    options = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    model, found = base.load(
        card.auto_class,
        dtype=dtype,
        use_safetensors=True,
        output_loading_info=True,
        **({"num_labels": 1} if classifies else {}),
        **options,
    )
    if found["missing_keys"] and not (classifies and new_head):
        # transformers would draw them at random.
        raise ConfigError(
            f"the weights lack {min(found['missing_keys'])!r}",
            place=base.path,
            remedy="copy the whole folder" if not new_head else "readout: likelihood takes a language model",
        )
    if classifies:
        # Classifiers of decoders find the last token by it, so it must be what batches are filled with.
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id or 0
    return Member(model, likelihood=not classifies)


def _load_readout(readout: nn.Linear, path: Path) -> None:
    try:
        readout.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"the file is missing or damaged: {' '.join(str(error).split())}",
            place=str(path),
            remedy="copy the whole folder",
        ) from error


@contextmanager
def _drawing(seed: int, member: int) -> Iterator[None]:
    """Draw new weights from the seed and the member; nobody else's draws are moved."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "metarm", member) % 2**63)
        yield


def _adapted(member: Member, lora: Any) -> Member:
    """Put adapters into a member; its head stays trained whole."""
    from peft import get_peft_model

    member.backbone = get_peft_model(member.backbone, copy.copy(lora))  # peft writes into it
    return member
