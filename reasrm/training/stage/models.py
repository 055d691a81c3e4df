"""The model that a stage trains: its tokenizer, its limits, its weights, its adapters.

What can be known without weights (is the folder safe, how long may rows be, where does an answer end) is known first,
so that a dry run and every refusal cost seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reasrm.config import nearest
from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.generation.checkpoint import Checkpoint, context_length, stop_ids
from reasrm.generation.hf import is_out_of_memory
from reasrm.judging.folder import check_files, refuse_changed
from reasrm.models import is_known
from reasrm.protocol.completions import CompletionEncoder
from reasrm.protocol.encoder import PromptEncoder
from reasrm.runs import result_checkpoint
from reasrm.training.stage.config import LoraSection, ModelSection

__all__ = [
    "BareModel",
    "BaseModel",
    "adapter_config",
    "check_adapters",
    "find_model",
    "load_weights",
    "open_bare",
    "open_base",
]


@dataclass(frozen=True, slots=True)
class BareModel:
    """What is known of any model before its weights are read.

    Args:
        checkpoint: Where it lies.
        config: Its transformers config.
        tokenizer: Its tokenizer.
        context: Most tokens it takes, None where it has no limit.
    """

    checkpoint: Checkpoint
    config: Any
    tokenizer: Any
    context: int | None

    def identity(self) -> dict[str, Any]:
        """What tells this base from another: name, revision, fingerprint."""
        commit = getattr(self.config, "_commit_hash", None)
        name = self.checkpoint.name
        is_folder = self.checkpoint.is_local and not is_known(name)
        return {
            "path": str(Path(name).absolute()) if is_folder else name,
            "revision": commit or self.checkpoint.revision,
            "fingerprint": self.checkpoint.fingerprint() if self.checkpoint.is_local else commit,
        }


@dataclass(frozen=True, slots=True)
class BaseModel(BareModel):
    """What is known of a chat model before its weights are read.

    Args:
        prompts: Messages → ids, as in judging.
        completions: Answers → ids, as in a rollout.
        stop_ids: Ids at which its answers end.
        pad_id: What short rows of a batch are filled with.
    """

    prompts: PromptEncoder
    completions: CompletionEncoder
    stop_ids: frozenset[int]
    pad_id: int


def open_bare(section: ModelSection) -> BareModel:
    """Read everything about a model but its weights; it need not know how to chat.

    Args:
        section: Which model; a judge folder or a finished run stands for the model in it.

    Raises:
        ConfigError: The folder is no model, or is not safe.
    """
    checkpoint = Checkpoint(find_model(section.path), section.revision)
    checkpoint.check()
    config = checkpoint.load("AutoConfig")
    return BareModel(checkpoint, config, checkpoint.load("AutoTokenizer"), context_length(config, None))


def open_base(section: ModelSection) -> BaseModel:
    """Read everything about a model but its weights.

    Args:
        section: Which model; a judge folder or a finished run stands for the model in it.

    Raises:
        ConfigError: The folder is no model, is not safe, or has no usable chat template.
    """
    bare = open_bare(section)
    checkpoint, config, tokenizer = bare.checkpoint, bare.config, bare.tokenizer
    prompts = PromptEncoder(tokenizer)
    prompts.refuse_garbling()
    ends = stop_ids(tokenizer, config, checkpoint.generation_config())
    pad_id = tokenizer.pad_token_id
    return BaseModel(
        checkpoint=checkpoint,
        config=config,
        tokenizer=tokenizer,
        prompts=prompts,
        completions=CompletionEncoder(prompts, tokenizer, ends),
        context=bare.context,
        stop_ids=ends,
        pad_id=min(ends) if pad_id is None else pad_id,
    )


def find_model(path: str) -> str:
    """Return the model inside a judge folder or a run folder; anything else is a model itself.

    Raises:
        ConfigError: The run has no checkpoint yet, or only adapters.
        InputError: The model of a judge folder is not as it was exported.
    """
    folder = Path(path)
    if (folder / "judge.json").is_file():
        refuse_changed(folder, check_files(folder))
        return str(folder / "model")
    if not ((folder / "manifest.json").is_file() and (folder / "checkpoints").is_dir()):
        return path
    result = result_checkpoint(folder)
    if result is None:
        raise ConfigError(
            "the run has no complete checkpoint yet", place=path, remedy="train on with --resume"
        )
    if (result.path / "adapter_config.json").is_file():
        raise ConfigError(
            "the run trained adapters, which are no model of their own",
            place=path,
            remedy="export the run, and name the judge folder",
        )
    return str(result.path)


def load_weights(base: BaseModel, section: ModelSection, dtype: torch.dtype) -> Any:
    """Return the model with its weights, from safetensors only, ready to be trained.

    Raises:
        ConfigError: transformers cannot load it.
        EnvironmentProblem: It does not fit into memory.
    """
    _project_completions_alone()
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    if section.attn_implementation is not None:
        options["attn_implementation"] = section.attn_implementation
    try:
        return base.checkpoint.load("AutoModelForCausalLM", **options)
    except ImportError as error:
        raise ConfigError(str(error), place="model.attn_implementation", remedy="leave it out") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise EnvironmentProblem(
            f"the model does not fit into memory as {str(dtype).removeprefix('torch.')}",
            place=section.path,
            remedy="use a smaller model, LoRA, or more processes with DeepSpeed ZeRO-3 or FSDP",
        ) from error


def _project_completions_alone() -> None:
    """Let TRL's fused head project positions without a loss on the vocabulary no more on a CPU than on a GPU.

    TRL 1.16 picks the positions with a loss where Triton runs, and scores all of them elsewhere, for devices that
    would compile anew for every count. A CPU compiles nothing, and a judge's prompt is most of its row: with 49,152
    tokens in the vocabulary that is a third of a step of SFT. The loss is the same.
    """
    from trl.kernels.chunked_logprob import _use_triton
    from trl.trainer import utils

    utils._use_triton = lambda device: device.type == "cpu" or _use_triton(device)  # type: ignore[attr-defined]


def adapter_config(section: LoraSection | None, task: str = "CAUSAL_LM") -> Any | None:
    """Return peft's config of the adapters, or None where all weights are trained.

    Args:
        section: The adapters.
        task: What the model is for, as peft names it; with `SEQ_CLS` the head is trained whole.
    """
    if section is None:
        return None
    from peft import LoraConfig

    whole = section.target_modules == "all-linear"
    return LoraConfig(
        task_type=task,
        r=section.r,
        lora_alpha=section.alpha,  # type: ignore[arg-type]
        lora_dropout=section.dropout,
        target_modules="all-linear" if whole else list(section.target_modules),
        modules_to_save=list(section.modules_to_save) or None,
    )


def check_adapters(
    config: Any,
    section: LoraSection | None,
    place: str,
    auto_class: str = "AutoModelForCausalLM",
    task: str = "CAUSAL_LM",
) -> None:
    """Refuse adapters that name modules which the model does not have, before any weight is read.

    Args:
        config: The model's transformers config.
        section: The adapters; None where all weights are trained.
        place: The config file, for errors.
        auto_class: What the model is loaded by.
        task: See `adapter_config`.

    Raises:
        ConfigError: A name is no module's, or peft cannot adapt it.
    """
    if section is None:
        return
    import transformers
    from peft import get_peft_model

    with torch.device("meta"):
        model = getattr(transformers, auto_class).from_config(config, trust_remote_code=False)
        names = [name for name, _ in model.named_modules() if name]
        for key in ("target_modules", "modules_to_save"):
            wanted = getattr(section, key)
            for module in () if wanted == "all-linear" else wanted:
                if not any(name == module or name.endswith(f".{module}") for name in names):
                    raise _no_module(module, names, f"{place}: lora.{key}")
        try:
            get_peft_model(model, adapter_config(section, task))  # type: ignore[arg-type]
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"peft refuses these adapters: {' '.join(str(error).split())}",
                place=f"{place}: lora",
                remedy="name modules that are linear layers, or all-linear",
            ) from error


def _no_module(module: str, names: list[str], place: str) -> ConfigError:
    known = sorted({last for name in names if not (last := name.rpartition(".")[2]).isdigit()})
    guess = nearest(module, known)
    return ConfigError(
        f"the model has no module {module!r}",
        place=place,
        remedy=f"did you mean {guess!r}?" if guess else f"its modules: {', '.join(known)}",
    )
