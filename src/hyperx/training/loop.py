"""The training run: an Accelerate loop over a planned sequence of batches."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import gather_object
from tqdm.auto import tqdm
from transformers import set_seed

from hyperx import checkpoint, interruption
from hyperx.config import ModelConfig, ModelOptions, TrainConfig, TrainingOptions
from hyperx.data.batch.sampling import BatchPlan, Row, pair_probabilities
from hyperx.data.batch.store import EncodedSplit
from hyperx.device import keep_freed_memory, not_finite
from hyperx.encoders.injection import checkpoint_activations
from hyperx.errors import ConfigError, HyperXError, listing
from hyperx.evaluation import report
from hyperx.evaluation.scores import PairScores, averaged, evaluate_pairs
from hyperx.files import sha256, write_json, write_text
from hyperx.model import HyperX
from hyperx.options import flat
from hyperx.pairs import macro_averages
from hyperx.plan.building import build_model
from hyperx.plan.preparation import RunData, prepare
from hyperx.plan.scope import Scope, check_run
from hyperx.plan.warm_start import WarmStart
from hyperx.tables import folded
from hyperx.tasks.base import special_subwords
from hyperx.tasks.collate import Batch, Collator
from hyperx.training.optimiser import make_optimizer, make_scheduler, total_steps

log = logging.getLogger(__name__)

TRACKER = "hyperx"
CHANGEABLE = {
    "resume",
    "overwrite_output_dir",
    "disable_progress_bar",
    "gradient_checkpointing",
    "report_to",
    "no_cuda",
    "save_total_limit",
    "save_steps",
}
UNREAD_SETTINGS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
"""Settings of an encoder's configuration on which its outputs do not depend."""


@dataclass
class Progress:
    """The progress of a run; kept with every checkpoint.

    Args:
        step: optimiser steps done.
        best: the best average so far, from 0 to 1.
        best_checkpoint: name of the folder of the checkpoint that reached it.
        evaluations_since_best: for early stopping.
        evaluation_due: whether the run was interrupted before or in the evaluation of this step.
    """

    step: int = 0
    best: float | None = None
    best_checkpoint: str | None = None
    evaluations_since_best: int = 0
    evaluation_due: bool = False


def train(config: TrainConfig, checked: tuple[Scope, WarmStart | None] | None = None) -> Path:
    """Train with these options; returns the output folder with its checkpoints.

    Args:
        config: the options.
        checked: what :func:`~hyperx.plan.scope.check_run` found, if it has checked them already.

    Raises:
        ConfigError: all problems with the options, before any model is loaded.
        DataError: if data is missing or malformed.
        EncoderError: if the encoder cannot be loaded.
        HyperXError: if training diverges, a checkpoint cannot be written, or another run writes into the folder.
        Interrupted: a KeyboardInterrupt, once a checkpoint is saved, if the process is asked to end.
    """
    scope, start = check_run(config) if checked is None else checked
    output_dir = config.training.output_dir
    assert output_dir is not None
    accelerator = make_accelerator(config.training)
    with checkpoint.locked(output_dir) if accelerator.is_main_process else nullcontext():
        _train(config, scope, start, accelerator, output_dir)
    return output_dir


def _train(
    config: TrainConfig, scope: Scope, start: WarmStart | None, accelerator: Accelerator, output_dir: Path
) -> None:
    """Train in an output folder that no other run writes into."""
    if config.training.resume and (found := checkpoint.checkpoints(output_dir)):
        check_same_options(checkpoint.read_json(found[-1] / checkpoint.OPTIONS), resumable_options(config))
    with accelerator.main_process_first():
        data = prepare(config, scope, start)
    set_seed(config.training.seed)
    model = build_model(
        data.encoder,
        config,
        kinds={name: task.kind for name, task in data.tasks.items()},
        labels=data.labels,
        languages=data.languages,
        trained=data.train_pairs,
        self_trained=data.self_trained_pairs,
        start=start,
    )
    if config.training.gradient_checkpointing:
        checkpoint_activations(model.encoder)
    if accelerator.is_main_process:
        report.print_modules(model, freezing_patterns(config.model))
    run = TrainingRun(config, output_dir, accelerator, model, data, start)
    if accelerator.is_main_process:
        run.try_saving()
    start_tracker(accelerator, config, output_dir)
    # An earlier run is deleted only once this one is sure to begin.
    with accelerator.main_process_first():
        claim_output_dir(config.training, output_dir)
    if config.training.resume:
        run.resume()
    try:
        with interruption.deferred():
            run.run()
    except KeyboardInterrupt:
        if accelerator.is_main_process:
            told = "interrupted after step %d; %s. Go on with the same command and --resume"
            log.warning(told, run.progress.step, _last_checkpoint(output_dir))
        raise
    except BrokenPipeError:  # of standard error, not of a file
        raise
    except OSError as error:
        raise HyperXError(
            f"step {run.progress.step} cannot be written into {output_dir}: {error}; {_last_checkpoint(output_dir)}. "
            "Make room, then go on with the same command and --resume"
        ) from error


def _last_checkpoint(output_dir: Path) -> str:
    kept = checkpoint.checkpoints(output_dir)
    return f"the last checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"


def freezing_patterns(options: ModelOptions) -> dict[str, str]:
    """The patterns that were given, by option."""
    given = {
        "--freeze_params_regex": options.freeze_params_regex,
        "--unfreeze_params_regex": options.unfreeze_params_regex,
    }
    return {option: pattern for option, pattern in given.items() if pattern is not None}


def start_tracker(accelerator: Accelerator, config: TrainConfig, output_dir: Path) -> None:
    """Start the tracker that --report_to names; logs of a run to be overwritten are deleted."""
    options = config.training
    if options.report_to == "none":
        return
    if accelerator.is_main_process and options.overwrite_output_dir and not options.resume:
        shutil.rmtree(output_dir / TRACKER, ignore_errors=True)
    accelerator.init_trackers(TRACKER, config=resumable_options(config))


def claim_output_dir(options: TrainingOptions, output_dir: Path) -> None:
    """Create the output folder, and delete an earlier run in it if it is to be overwritten."""
    if options.overwrite_output_dir and not options.resume:
        _delete_run(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)


def _delete_run(output_dir: Path) -> None:
    """Delete what a run wrote, and nothing else in the folder."""
    for path in checkpoint.checkpoints(output_dir):
        shutil.rmtree(path)
    checkpoint.clean(output_dir)
    for name in (checkpoint.BEST, checkpoint.LOG):
        (output_dir / name).unlink(missing_ok=True)


def make_accelerator(options: TrainingOptions) -> Accelerator:
    """Devices, processes, precision and loggers."""
    precision = "no"
    if options.fp16:
        if torch.cuda.is_available() and not options.no_cuda:
            # GPUs before Ampere only emulate bf16, which is slow.
            precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
            log.info("--fp16: mixed precision with %s", precision)
        else:
            log.warning("--fp16: this machine has no mixed precision to offer here; training in 32 bits")
    return Accelerator(
        cpu=options.no_cuda,
        mixed_precision=precision,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        log_with=None if options.report_to == "none" else options.report_to,
        project_dir=options.output_dir,
        # A batch rarely has rows of every task, so some heads have no gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


class TrainingRun:
    """One run, from its first or resumed step to its last.

    Args:
        config: all options.
        output_dir: where checkpoints and the log go.
        accelerator: devices, processes and precision.
        model: the model with its initial weights.
        data: the encoded splits.
        start: the checkpoint that the model started from.
    """

    def __init__(
        self,
        config: TrainConfig,
        output_dir: Path,
        accelerator: Accelerator,
        model: HyperX,
        data: RunData,
        start: WarmStart | None = None,
    ) -> None:
        self.config, self.output_dir, self.accelerator, self.data = config, output_dir, accelerator, data
        self.options = config.training
        if accelerator.device.type == "cpu":
            keep_freed_memory()
        self.progress = Progress()
        self.losses: list[torch.Tensor] = []
        self.scoreless = ""
        self.batch_rows = self.options.per_device_train_batch_size * accelerator.num_processes
        self.plan = make_plan(config, data.train_splits, self.batch_rows)
        self.subwords = special_subwords(data.encoder.checked_tokenizer())
        self.collate = Collator(
            pairs=data.train_pairs,
            splits=data.train_splits,
            tasks=data.tasks,
            labels=data.labels,
            subwords=self.subwords,
            seed=self.options.seed,
        )
        self.begun_with = begun_with(data, start, accelerator.num_processes)
        self.steps = total_steps(self.options, sum(map(len, data.train_splits)), self.batch_rows)
        optimizer = make_optimizer(model, self.options, accelerator.device)
        scheduler = make_scheduler(optimizer, self.options, self.steps)
        self.bare_model = model
        self.labelled = model.config.labelled_pairs
        # The scheduler is not prepared: the library would step it once per process.
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.scheduler = scheduler
        # Processes agree to end over the network of their CPUs, so that no GPU is waited for.
        several = accelerator.num_processes > 1 and torch.distributed.is_initialized()
        self.agreement = torch.distributed.new_group(backend="gloo") if several else None
        # Kept for all batches: its thread must free no tensor, see `_save`.
        self.heard = torch.zeros((), dtype=torch.int64)
        self.random: dict[str, torch.Tensor] | None = None
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        # The encoder was loaded in evaluation mode; evaluation restores the mode that it found.
        self.model.train()

    def run(self) -> None:
        """Train to the last step or until early stopping, evaluating, logging and saving on the way.

        Raises:
            Interrupted: if the process was asked to end; a checkpoint of the last whole step is saved then.
        """
        options = self.options
        bar = tqdm(
            total=self.steps,
            initial=self.progress.step,
            desc="training",
            unit="step",
            # Without a terminal, log lines are written instead.
            disable=options.disable_progress_bar or not self.accelerator.is_main_process or not sys.stderr.isatty(),
        )
        try:
            self._run(bar)
        except interruption.Interrupted:
            if self.progress.step > 0:
                self._save()
            raise
        finally:
            bar.close()
        if self.scoreless and self.accelerator.is_main_process:
            log.warning("%s", self.scoreless)
        self.accelerator.end_training()

    def _run(self, bar: tqdm[Any]) -> None:
        options, progress = self.options, self.progress
        batches = self._batches(progress.step * options.gradient_accumulation_steps)
        evaluates = options.evaluation_strategy != "no" and bool(self.data.eval_splits)
        while (progress.step < self.steps or progress.evaluation_due) and not self._out_of_patience():
            if not progress.evaluation_due:
                self.losses.append(self._step(batches))
                progress.step += 1
                bar.update()
                if self._due(options.logging_steps):
                    self._log_losses(bar)
                progress.evaluation_due = evaluates and self._due(options.eval_steps)
            if progress.step < self.steps or progress.evaluation_due:
                self._end_if_told()
            if progress.evaluation_due and self._evaluate(bar):
                break
            if self._due(options.save_steps):
                self._save()

    def _due(self, every: int) -> bool:
        return self.progress.step == self.steps or self.progress.step % every == 0

    def _end_if_told(self) -> None:
        """End if this process was asked to, or any of several, which all end at the same batch.

        Raises:
            Interrupted: with the signal.
        """
        number = interruption.told()
        if self.agreement is not None:
            self.heard.fill_(number)
            torch.distributed.all_reduce(self.heard, torch.distributed.ReduceOp.MAX, group=self.agreement)
            number = int(self.heard)
        if number:
            raise interruption.Interrupted(number)

    def _batches(self, start: int) -> Iterator[Batch]:
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        for number, rows in enumerate(self.plan.batches(start), start=start):
            own: Sequence[Row] = rows[process::processes]
            yield self.collate(own, number * processes + process)

    def _step(self, batches: Iterator[Batch]) -> torch.Tensor:
        """One optimiser step; returns its mean loss, still on the device.

        Nothing here waits for a GPU: Python launches the next step while the GPU computes this one. So no value is read
        back from the device, and Python's work per step is kept small.
        """
        total = torch.zeros((), device=self.accelerator.device)
        several = self.options.gradient_accumulation_steps > 1
        # An interrupted step is not saved in part: it is done again, with the same random numbers.
        self.random = random_state(self.accelerator.device) if several else None
        for number in range(self.options.gradient_accumulation_steps):
            if number:
                self._end_if_told()
            batch = next(batches).to(self.accelerator.device)
            with self.accelerator.accumulate(self.model):
                loss = self.model(
                    batch.pairs, batch.input_ids, batch.attention_mask, words=batch.words, labels=batch.labels
                ).loss
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients and self.options.max_grad_norm > 0:
                    self.accelerator.clip_grad_norm_(self.parameters, self.options.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            total += loss.detach()
        self.scheduler.step()
        self.random = None
        return total / self.options.gradient_accumulation_steps

    def _log_losses(self, bar: tqdm[Any]) -> None:
        mean = self.accelerator.reduce(torch.stack(self.losses).mean(), "mean").item()
        self.losses.clear()
        if not math.isfinite(mean):
            raise self._diverged(f"the loss is {mean}")
        bar.set_postfix(loss=f"{mean:.3f}")
        if bar.disable and self.accelerator.is_main_process:
            log.info("step %d of %d: loss %.3f", self.progress.step, self.steps, mean)
        self._log({"loss": mean, "learning_rate": self.scheduler.get_last_lr()[0]})

    def _log(self, values: dict[str, Any]) -> None:
        self.accelerator.log(values, step=self.progress.step)
        if self.accelerator.is_main_process:
            with (self.output_dir / checkpoint.LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.progress.step, **values}) + "\n")

    def _evaluate(self, bar: tqdm[Any]) -> bool:
        """Score the evaluation pairs and keep the best checkpoint; returns whether to stop early."""
        with self.bare_model.register_forward_pre_hook(lambda *_: self._end_if_told()):
            scores = evaluate_pairs(
                self.bare_model,
                self.data.eval_splits,
                batch_size=self.options.per_device_eval_batch_size,
            )
        self.progress.evaluation_due = False
        averages = macro_averages(averaged(scores), self.labelled)
        self._log({f"dev_{score.pair}": score.value for score in scores} | {f"dev_{k}": v for k, v in averages.items()})
        # None if only auxiliary tasks are evaluated; then the last checkpoint is the result.
        average = averages.get(self.options.best_by)
        self._tell(bar, scores, average)
        self.scoreless = report.scoreless(scores)
        return average is not None and self._keep_best(average)

    def _tell(self, bar: tqdm[Any], scores: Sequence[PairScores], average: float | None) -> None:
        if self.accelerator.is_main_process:
            cells = "  ".join(f"{score.pair} {report.shown(score, score.value)}" for score in scores)
            chosen_by = "" if average is None else f"{self.options.best_by} {100 * average:.1f}  "
            bar.write(folded(f"step {self.progress.step}  dev {chosen_by}{cells}"))

    def _keep_best(self, average: float) -> bool:
        """Save the checkpoint if no average was better yet; returns whether to stop early. Of equal averages the latest
        counts as best: at first an F1 may stay at 0 for a while."""
        progress = self.progress
        better = progress.best is None or average > progress.best
        progress.evaluations_since_best = 0 if better else progress.evaluations_since_best + 1
        best = better or average == progress.best
        if best:
            progress.best, progress.best_checkpoint = average, f"checkpoint-{progress.step}"
        stop = self._out_of_patience()
        if stop:
            evaluations = progress.evaluations_since_best
            log.info("stopping early at step %d: no better average in %d evaluations", progress.step, evaluations)
        if best or stop:
            self._save()
        return stop

    def _out_of_patience(self) -> bool:
        patience = self.options.early_stopping_patience
        return patience is not None and self.progress.evaluations_since_best >= patience

    def _save(self) -> None:
        """Write the checkpoint of this step, name the best, delete those beyond the limit."""
        folder = self.output_dir / f"checkpoint-{self.progress.step}"
        # Each process draws random numbers for its own rows.
        random = gather_object([self.random or random_state(self.accelerator.device)])
        # The last collective operation must have no tensors: its thread needs the interpreter lock to free them, and
        # the end of a run waits for that thread without releasing the lock.
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        if not (folder / checkpoint.CONFIG).is_file():
            checkpoint.write_folder(folder, partial(self._fill, random=random))
        self._name_best()

    def _name_best(self) -> None:
        best = self.progress.best_checkpoint
        if best is not None:
            write_json(
                self.output_dir / checkpoint.BEST,
                {"checkpoint": best, "average": self.progress.best, "of": self.options.best_by},
            )
        checkpoint.prune(
            self.output_dir, self.options.save_total_limit, None if best is None else self.output_dir / best
        )

    def _fill(self, folder: Path, random: Sequence[dict[str, torch.Tensor]]) -> None:
        self._check_finite()
        self.bare_model.save_files(folder)
        self._describe(folder)
        state = {
            "progress": asdict(self.progress),
            "losses": [loss.item() for loss in self.losses],
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "begun_with": self.begun_with,
            "random": random,
        }
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        checkpoint.save_state(folder, state)

    def _describe(self, folder: Path) -> None:
        write_json(folder / checkpoint.DATA, self.data.kept)
        write_json(folder / checkpoint.OPTIONS, resumable_options(self.config))

    def _check_finite(self) -> None:
        """Check the weights, and what the optimiser keeps of them; raises a HyperXError if training has diverged."""
        named = dict(self.bare_model.named_parameters())
        weights = {name: named[name].detach() for name in self.bare_model.trained_names()}
        if names := not_finite({**weights, **optimizer_values(self.optimizer.state_dict())}):
            raise self._diverged(f"{listing(names, most=3)} holds NaN or infinity")

    def _diverged(self, what: str) -> HyperXError:
        return HyperXError(
            f"{what} at step {self.progress.step}: training has diverged. Start anew with a lower --learning_rate than "
            f"{self.options.learning_rate}"
        )

    def try_saving(self) -> None:
        """Try before training all that saving needs: write, sync and remove a folder like a checkpoint; find room.

        Raises:
            ConfigError: if it cannot be done.
        """
        folder, before = self.output_dir / checkpoint.TRIAL, checkpoint.checkpoints(self.output_dir)

        def fill(staged: Path) -> None:
            checkpoint.save_model(staged, self.bare_model.config, {"trial": torch.zeros(1)})
            self._describe(staged)
            checkpoint.save_state(staged, {"progress": asdict(self.progress), "begun_with": self.begun_with})

        try:
            checkpoint.write_folder(folder, fill)
            shutil.rmtree(folder)
            for path in (self.output_dir / checkpoint.BEST, self.output_dir / checkpoint.LOG):
                if path.exists():
                    path.open("a").close()
            free = shutil.disk_usage(self.output_dir).free
        except (OSError, UnicodeError) as error:
            raise ConfigError([f"--output_dir: {self.output_dir} cannot hold a checkpoint: {error}"]) from error
        if not self.options.resume:  # they are deleted, if there are any
            free += sum(path.stat().st_size for own in before for path in own.rglob("*") if path.is_file())
            before = []
        # The optimiser keeps two values of each weight.
        trained, named = self.bare_model.trained_names(), dict(self.bare_model.named_parameters())
        size = sum(named[name].nbytes * (1 + 2 * named[name].requires_grad) for name in trained)
        copies = max(self._most_checkpoints() - len(before), 1)
        if free < copies * size:
            has, needs = (tqdm.format_sizeof(number, "B") for number in (free, copies * size))
            raise ConfigError(
                [
                    f"--output_dir: {self.output_dir} has room for {has}; {copies} checkpoints, which are there at the "
                    f"same time, take {needs}. Make room, name another folder, or keep fewer with --save_total_limit"
                ]
            )

    def _most_checkpoints(self) -> int:
        """How many checkpoints there are at once: those to keep, and a new one before the oldest is deleted. Without a
        limit two, as any number may be moved away on the way."""
        evaluates = self.options.evaluation_strategy != "no" and bool(self.data.eval_splits)
        steps = {*range(self.options.save_steps, self.steps, self.options.save_steps), self.steps}
        steps |= set(range(self.options.eval_steps, self.steps, self.options.eval_steps)) if evaluates else set()
        limit = self.options.save_total_limit or 1
        return min(len(steps), limit + 1 + (limit == 1 and evaluates))

    def resume(self) -> None:
        """Continue from the last complete checkpoint, or from the beginning if there is none."""
        if self.accelerator.is_main_process:
            checkpoint.clean(self.output_dir)
        found = checkpoint.checkpoints(self.output_dir)
        if not found:
            log.warning("--resume: %s has no checkpoint yet; starting from the beginning", self.output_dir)
            self._trim_log()
            return
        check_same_model(checkpoint.read_config(found[-1]), self.bare_model.config)
        state = checkpoint.read_state(found[-1])
        check_same_beginning(state.get("begun_with", {}), self.begun_with)
        if names := not_finite(optimizer_values(state["optimizer"])):
            raise checkpoint.damaged(found[-1] / checkpoint.STATE, f"{listing(names, most=3)} holds NaN or infinity")
        self.bare_model.load_tensors(checkpoint.read_tensors(found[-1]))
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        restore_random_state(state["random"][self.accelerator.process_index], self.accelerator.device)
        if "scaler" in state and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
        self.losses = [torch.tensor(loss, device=self.accelerator.device) for loss in state["losses"]]
        self._trim_log()
        if self.accelerator.is_main_process:
            # A kill may have come between writing the best checkpoint and naming it in best.json.
            self._name_best()
        log.info("resuming from %s", found[-1])

    def _trim_log(self) -> None:
        """Drop the log's lines past the resumed step: they will be written again."""
        path = self.output_dir / checkpoint.LOG
        if self.accelerator.is_main_process and path.is_file():
            # The last line may be half written.
            whole = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
            lines = [(line, json.loads(line)) for line in whole]
            step, due = self.progress.step, self.progress.evaluation_due
            # If the evaluation of the resumed step is due, of its lines only that of the loss is kept.
            kept = [line for line, at in lines if at["step"] < step + ("loss" in at or not due)]
            write_text(path, "".join(line + "\n" for line in kept))


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of this process's random number generators, by device type."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def optimizer_values(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors in an optimiser's state, by a name for messages."""
    return {f"{name} of parameter {i}": kept for i, own in state["state"].items() for name, kept in own.items()}


def restore_random_state(state: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Restore the state that :func:`random_state` took; on another type of device only the CPU's."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def make_plan(config: TrainConfig, splits: Sequence[EncodedSplit], batch_rows: int) -> BatchPlan:
    """The sequence of batches that the sampling options ask for."""
    sampling = config.sampling
    return BatchPlan(
        lengths=[split.lengths for split in splits],
        probabilities=pair_probabilities(
            [len(split) for split in splits], strategy=sampling.sampling_strategy, temperature=sampling.temperature
        ),
        batch_size=batch_rows,
        seed=config.training.seed,
        mixed=sampling.mixed_batches,
        bucketed=sampling.length_bucketing,
    )


def resumable_options(config: TrainConfig) -> dict[str, str]:
    """The options that must stay the same when a run is resumed, as text."""
    changeable = CHANGEABLE | {"output_dir", "config", "preset"}
    return {name: str(value) for name, value in flat(config).items() if name not in changeable}


def begun_with(data: RunData, start: WarmStart | None, processes: int) -> dict[str, int | str]:
    """What a run must still have when it is resumed, by a name for messages: as numbers or hashes."""
    config = data.encoder.model.config.to_diff_dict()
    settings = json.dumps({name: config[name] for name in sorted({*config} - UNREAD_SETTINGS)}, default=str)
    return {
        "number of processes": processes,
        "settings of the encoder": hashlib.sha256(settings.encode()).hexdigest(),
        **({} if start is None else {"weights of --load_from_ckpt": sha256(start.folder / checkpoint.WEIGHTS)}),
        **{
            f"training data of {pair}": split.content_hash()
            for pair, split in zip(data.train_pairs, data.train_splits, strict=True)
        },
        **{f"dev data of {pair}": split.content_hash() for pair, split in data.eval_splits.items()},
    }


def check_same_beginning(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume a run that began with other data, or another encoder, start or number of processes.

    Raises:
        ConfigError: naming what differs.
    """
    changed = [
        f"--resume: the run began with other {name}. Put back what it began with, or start a new run"
        for name in sorted({**then, **now})
        if then.get(name) != now.get(name)
    ]
    if changed:
        raise ConfigError(changed)


def check_same_model(then: ModelConfig, now: ModelConfig) -> None:
    """Refuse to resume a run with the same options but other data, another encoder or another checkpoint to start from.

    Raises:
        ConfigError: naming what differs.
    """
    before, after = ({**config.to_json(), "trained_inside": None, "encoder": None} for config in (then, now))
    changed = [
        f"--resume: {name}: the run began with {before[name]}; found {after[name]}. Put back what it began with, or "
        "start a new run"
        for name in before
        if before[name] != after[name]
    ]
    if changed:
        raise ConfigError(changed)


def check_same_options(then: dict[str, str], now: dict[str, str]) -> None:
    """Refuse to resume a run with other options.

    Raises:
        ConfigError: naming each that differs.
    """
    changed = [
        f"--{name}: the run began with {then.get(name)!r}; found {now.get(name)!r}. Resume with the same options, or "
        "start a new run from its weights with --load_from_ckpt"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
    if changed:
        raise ConfigError(changed)
