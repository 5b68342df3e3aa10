"""The training run: an Accelerate loop over a planned sequence of batches."""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from pydantic import ConfigDict
from tqdm.auto import tqdm
from transformers import set_seed

from hyperx import checkpoint, interruption
from hyperx.config import TrainConfig, TrainingOptions
from hyperx.data.batch.sampling import BatchPlan
from hyperx.data.batch.windows import Subwords
from hyperx.device import keep_freed_memory
from hyperx.encoders.injection import checkpoint_activations
from hyperx.errors import CheckpointError, ConfigError, HyperXError, counted
from hyperx.evaluation.scores import Evaluation, PairScores, evaluate_pairs, joined, scoreless, share, shown
from hyperx.files import write_json, write_text
from hyperx.model import HyperX
from hyperx.plan.data import RunData, prepare
from hyperx.plan.model import build_model
from hyperx.plan.options import Plan, plan_run
from hyperx.processes import ALONE, Processes
from hyperx.tables import folded
from hyperx.training.collate import Batch, Collator
from hyperx.training.optimiser import make_optimizer, make_scheduler, print_modules, total_steps
from hyperx.training.resuming import check_same, fingerprint, lasting_options, lasting_settings

log = logging.getLogger(__name__)

TRACKER = "hyperx"


@dataclass
class Progress:
    """The progress of a run; kept with every checkpoint."""

    step: int = 0
    best: float | None = None  # the best average so far, from 0 to 1
    best_checkpoint: str | None = None  # the name of its folder
    evaluations_since_best: int = 0
    evaluation_due: bool = False  # the run was interrupted before or in the evaluation of this step


@dataclass(kw_only=True)
class State:
    """What a checkpoint keeps for resuming beside the weights."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    progress: Progress
    losses: list[float]  # since the last one that was logged
    moments: dict[int, dict[str, torch.Tensor]]  # of the optimiser, by the number of a parameter
    groups: list[dict[str, Any]]  # of the optimiser's parameters
    scheduler: dict[str, Any]
    scaler: dict[str, Any]
    fingerprint: dict[str, int | str]
    random: dict[int, dict[str, torch.Tensor]]  # by process and device


def train(config: TrainConfig, plan: Plan | None = None) -> Path:
    """Train with these options, of which a plan may have been made; returns the output folder with its checkpoints.

    Raises:
        HyperXError: if the options, the data or the encoder are at fault, training diverges, a checkpoint cannot be
            written, or another run writes into the folder.
        Interrupted: a KeyboardInterrupt, once a checkpoint is saved, if the process is asked to end.
    """
    plan = plan or plan_run(config)
    options, output_dir = config.training, config.training.output_dir
    assert output_dir is not None
    accelerator = make_accelerator(options)
    processes = Processes(accelerator)
    with checkpoint.locked(output_dir) if accelerator.is_main_process else nullcontext():
        if options.resume and (saved := checkpoint.checkpoints(output_dir)):
            then = checkpoint.read_json(saved[-1] / checkpoint.OPTIONS, dict[str, str])
            check_same(then, lasting_options(config), "option")
        with processes.one_first():
            data = prepare(plan)
        set_seed(options.seed)
        model = build_model(data)
        if options.gradient_checkpointing:
            checkpoint_activations(model.encoder)
        run = TrainingRun(output_dir, accelerator, model, data, processes)
        run.begin()
        run.run()
    return output_dir


def make_accelerator(options: TrainingOptions) -> Accelerator:
    """Devices, processes, precision and loggers; raises a HyperXError if the model is to be shared out."""
    for name in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false") == "true":
            raise HyperXError(f"accelerate launch: {name} is not supported: every process holds the whole model")
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
        output_dir: where checkpoints and the log go.
        accelerator: devices, processes and precision.
        model: the model with its initial weights.
        data: the encoded splits, and the plan of the run.
        processes: those that train together; by default this one alone.
    """

    # Set up -----------------------------------------------------------------------------------------------------------

    def __init__(
        self, output_dir: Path, accelerator: Accelerator, model: HyperX, data: RunData, processes: Processes = ALONE
    ) -> None:
        config = self.config = data.plan.config
        self.output_dir, self.accelerator, self.data = output_dir, accelerator, data
        self.options = options = config.training
        self.bare_model, self.processes = model, processes
        self.fingerprint = fingerprint(data, self.processes.count)
        if accelerator.device.type == "cpu":
            keep_freed_memory()
        rows = options.per_device_train_batch_size * self.processes.count
        self.batch_plan = BatchPlan(
            [split.lengths for split in data.train_splits], config.sampling, batch_size=rows, seed=options.seed
        )
        self.collate = Collator(
            pairs=data.plan.trained_pairs,
            splits=data.train_splits,
            tasks=data.plan.tasks,
            labels=data.labels,
            subwords=Subwords.of(data.encoder.checked_tokenizer()),
            seed=options.seed,
        )
        self.steps = total_steps(options, sum(map(len, data.train_splits)), rows)
        self.evaluates = options.evaluation_strategy != "no" and bool(data.eval_splits)
        optimizer = make_optimizer(model, options, accelerator.device)
        # It is not prepared: the library would step it once per process.
        self.scheduler = make_scheduler(optimizer, options, self.steps)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        # The encoder was loaded in evaluation mode; evaluation restores the mode that it found.
        self.model.train()
        self.progress = Progress()
        self.losses: list[torch.Tensor] = []
        self.random: dict[str, torch.Tensor] | None = None
        """The random state before the step under way, if that has several batches."""
        self.scoreless = ""
        self.started, self.seconds_before = time.monotonic(), 0.0

    def begin(self, *, tells: bool = True) -> None:
        """Make sure that checkpoints can be saved, claim the folder, resume if asked; and tell what is trained."""
        options, main = self.options, self.accelerator.is_main_process
        anew = options.overwrite_output_dir and not options.resume
        if main:
            if tells:
                print_modules(self.bare_model, self.config.model)
            self._try_saving()
        if options.report_to != "none":
            if main and anew:
                shutil.rmtree(self.output_dir / TRACKER, ignore_errors=True)
            self.accelerator.init_trackers(TRACKER, config=lasting_options(self.config))
        # An earlier run is deleted only once this one is sure to begin.
        if main:
            if anew:
                checkpoint.delete_run(self.output_dir)
            self.output_dir.mkdir(parents=True, exist_ok=True)
        self.processes.gathered(None)
        if options.resume:
            self._resume()

    def _try_saving(self) -> None:
        """Try before training all that saving needs: write, sync and remove a folder like a checkpoint; find room;
        raises a ConfigError if it cannot be done."""
        folder = self.output_dir / checkpoint.TRIAL
        state = {"progress": asdict(self.progress), "fingerprint": self.fingerprint}
        trial = partial(checkpoint.save_model, config=self.bare_model.config, tensors={"trial": torch.zeros(1)})
        try:
            checkpoint.write_folder(folder, partial(self._fill, save_model=trial, state=state))
            shutil.rmtree(folder)
            for path in (self.output_dir / checkpoint.BEST, self.output_dir / checkpoint.LOG):
                if path.is_symlink():
                    raise OSError(f"{path} is a link; delete it")
                if path.exists():
                    path.open("a").close()
            free = shutil.disk_usage(self.output_dir).free
        except (OSError, UnicodeError) as error:
            raise ConfigError([f"--output_dir: {self.output_dir} cannot hold a checkpoint: {error}"]) from error
        before = checkpoint.checkpoints(self.output_dir)
        if not self.options.resume:  # they are deleted, if there are any
            free += sum(path.stat().st_size for own in before for path in own.rglob("*") if path.is_file())
            before = []
        # The optimiser keeps two values of each weight.
        trained, named = self.bare_model.trained_names(), dict(self.bare_model.named_parameters())
        size = sum(named[name].nbytes * (1 + 2 * named[name].requires_grad) for name in trained)
        # There are those to keep, among them the best and the last, and a new one before the oldest is deleted. Without
        # a limit no more is asked for, as any number may be moved away on the way.
        most = 1 + max(self.options.save_total_limit or 1, 1 + self.evaluates)
        every = [self.options.save_steps, *([self.options.eval_steps] if self.evaluates else [])]
        written = {self.steps}.union(*(range(steps, self.steps, steps) for steps in every))
        copies = max(min(len(written), most) - len(before), 1)
        if free < copies * size:
            has, needs = (tqdm.format_sizeof(number, "B") for number in (free, copies * size))
            problem = (
                f"--output_dir: {self.output_dir} has room for {has}; {copies} checkpoints, which are there at the "
                f"same time, take {needs}. Make room, name another folder, or keep fewer with --save_total_limit"
            )
            raise ConfigError([problem])

    # The loop ---------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Train to the last step or until early stopping, evaluating, logging and saving on the way.

        Raises:
            Interrupted: if the process was asked to end; a checkpoint of the last whole step is saved then.
        """
        main = self.accelerator.is_main_process
        bar = tqdm(
            total=self.steps,
            initial=self.progress.step,
            desc="training",
            unit="step",
            # Without a terminal, log lines are written instead.
            disable=self.options.disable_progress_bar or not main or not sys.stderr.isatty(),
        )
        try:
            with bar, interruption.deferred():
                try:
                    self._run(bar)
                except interruption.Interrupted:
                    if self.progress.step > 0:
                        self._save()
                    raise
        except KeyboardInterrupt:
            if main:
                told = "interrupted after step %d; %s. Go on with the same command and --resume"
                log.warning(told, self.progress.step, self._last_checkpoint())
            raise
        if self.scoreless and main:
            log.warning("%s", self.scoreless)
        self.processes.gathered(None)  # the last checkpoint is written
        self.accelerator.end_training()

    def _run(self, bar: tqdm[Any]) -> None:
        options, progress = self.options, self.progress
        batches = self._batches(progress.step * options.gradient_accumulation_steps)
        while (progress.step < self.steps or progress.evaluation_due) and not self._out_of_patience():
            if not progress.evaluation_due:
                self.losses.append(self._step(batches))
                progress.step += 1
                bar.update()
                if self._due(options.logging_steps):
                    self._log_losses(bar)
                progress.evaluation_due = self.evaluates and self._due(options.eval_steps)
            if progress.step < self.steps or progress.evaluation_due:
                self._end_if_told()
            if progress.evaluation_due and self._evaluate(bar):
                break
            if self._due(options.save_steps):
                self._save()

    def _due(self, every: int) -> bool:
        return self.progress.step == self.steps or self.progress.step % every == 0

    def _out_of_patience(self) -> bool:
        patience = self.options.early_stopping_patience
        return patience is not None and self.progress.evaluations_since_best >= patience

    def _end_if_told(self) -> None:
        """Raise Interrupted if this process was asked to end, or any of several, which all end at the same batch."""
        if number := max(self.processes.gathered(interruption.told())):
            raise interruption.Interrupted(number)

    def _look(self, *_: Any) -> None:
        """The same in an evaluation, in which each process has pairs of its own."""
        if number := self.processes.told(interruption.told()):
            raise interruption.Interrupted(number)

    def _batches(self, start: int) -> Iterator[Batch]:
        own = slice(self.processes.number, None, self.processes.count)
        for number, rows in enumerate(self.batch_plan.batches(start), start=start):
            yield self.collate(rows, number, own)

    def _step(self, batches: Iterator[Batch]) -> torch.Tensor:
        """One optimiser step; returns its loss, still on the device, of which the mean over processes is to be taken.

        It is that of one batch with all rows of the step, however processes and batches share them: for each task its
        share of the rows, times the mean over all that is labelled.

        Nothing here waits for a GPU: Python launches the next step while the GPU computes this one. So no value is read
        back from the device, and Python's work per step is kept small.
        """
        total = torch.zeros((), device=self.accelerator.device)
        several = self.options.gradient_accumulation_steps > 1
        own = list(itertools.islice(batches, self.options.gradient_accumulation_steps))
        amounts = itertools.chain(*self.processes.gathered([batch.amounts for batch in own]))
        whole = sum(amounts, Counter[tuple[str, int]]())
        # Gradients become means over processes and batches.
        scale = len(own) * self.processes.count / sum(rows for (_, part), rows in whole.items() if not part)
        # An interrupted step is not saved in part: it is done again, with the same random numbers.
        self.random = random_state(self.accelerator.device) if several else None
        for number, batch in enumerate(one.to(self.accelerator.device) for one in own):
            if number:
                self._end_if_told()
            with self.accelerator.accumulate(self.model):
                losses = self.model(
                    batch.pairs, batch.input_ids, batch.attention_mask, words=batch.words, labels=batch.labels
                ).losses
                loss = torch.zeros_like(total)
                for task, means in losses.items():
                    for part, mean in enumerate(means.reshape(-1), start=1):
                        share_of_labels = batch.amounts[task, part] / max(whole[task, part], 1)
                        loss = loss + scale * whole[task, 0] * share_of_labels * mean
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
        mean = fmean(self.processes.gathered(torch.stack(self.losses).mean().item()))
        self.losses.clear()
        if not math.isfinite(mean):
            raise self._diverged(f"the loss is {mean}")
        bar.set_postfix(loss=f"{mean:.3f}")
        if bar.disable and self.accelerator.is_main_process:
            log.info("step %d of %d: loss %.3f", self.progress.step, self.steps, mean)
        self._log({"loss": mean, "learning_rate": self.scheduler.get_last_lr()[0]})

    def _log(self, values: dict[str, Any]) -> None:
        with self._writing():
            self.accelerator.log(values, step=self.progress.step)
            if self.accelerator.is_main_process:
                with (self.output_dir / checkpoint.LOG).open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": self.progress.step, **values}) + "\n")

    def _diverged(self, what: str) -> HyperXError:
        return HyperXError(
            f"{what} at step {self.progress.step}: training has diverged. Start anew with a lower --learning_rate than "
            f"{self.options.learning_rate}"
        )

    # Evaluation -------------------------------------------------------------------------------------------------------

    def _evaluate(self, bar: tqdm[Any]) -> bool:
        """Score the evaluation pairs and save the checkpoint if no average was better; returns whether to stop early.

        Of equal averages the latest counts as best: at first an F1 may stay at 0 for a while.
        """
        progress = self.progress
        splits, own = self.data.eval_splits, list[PairScores]()
        with self.bare_model.register_forward_pre_hook(self._look), suppress(interruption.Interrupted):
            size, places = self.options.per_device_eval_batch_size, self.data.plan.data
            own += evaluate_pairs(self.bare_model, share(splits, self.processes), batch_size=size, places=places)
        self._end_if_told()
        scores = joined(own, splits, self.processes)
        progress.evaluation_due = False
        averages = Evaluation(tuple(scores), self.bare_model.config.labelled_pairs).averages
        self._log({f"dev_{score.pair}": score.value for score in scores} | {f"dev_{k}": v for k, v in averages.items()})
        average = averages.get(self.options.best_by)
        if self.accelerator.is_main_process:
            cells = "  ".join(f"{score.pair} {shown(score, score.value)}" for score in scores)
            chosen_by = "" if average is None else f"{self.options.best_by} {100 * average:.1f}  "
            bar.write(folded(f"step {progress.step}  dev {chosen_by}{cells}"))
        self.scoreless = scoreless(scores)
        if average is None:  # only auxiliary tasks are evaluated: the last checkpoint is the result
            return False
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

    # Saving -----------------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Write the checkpoint of this step, name the best, delete those beyond the limit."""
        folder = self.output_dir / f"checkpoint-{self.progress.step}"
        # Each process draws random numbers for its own rows.
        random = dict(enumerate(self.processes.gathered(self.random or random_state(self.accelerator.device))))
        losses = self.processes.gathered([loss.item() for loss in self.losses])
        if not self.accelerator.is_main_process:
            return
        if not (folder / checkpoint.CONFIG).is_file():
            optimizer, scaler = self.optimizer.state_dict(), self.accelerator.scaler
            state = {
                "progress": asdict(self.progress),
                "losses": [*itertools.chain(*zip(*losses, strict=True))],
                "moments": optimizer["state"],
                "groups": optimizer["param_groups"],
                "scheduler": self.scheduler.state_dict(),
                "scaler": {} if scaler is None else scaler.state_dict(),
                "fingerprint": self.fingerprint,
                "random": random,
            }
            with self._writing():
                try:
                    checkpoint.write_folder(
                        folder, partial(self._fill, save_model=self.bare_model.save_files, state=state)
                    )
                except checkpoint.NotFiniteError as error:
                    raise self._diverged(str(error)) from None
        self._name_best()

    def _fill(self, folder: Path, save_model: Callable[[Path], None], state: Mapping[str, Any]) -> None:
        save_model(folder)
        splits = zip(self.data.plan.trained_pairs, self.data.train_splits, strict=True)
        counts = {str(pair): split.sentence_count for pair, split in splits}
        write_json(folder / checkpoint.DATA, replace(self.data.plan.record, sentences=counts).to_json())
        write_json(folder / checkpoint.OPTIONS, lasting_options(self.config))
        cpu = f"{counted(torch.get_num_threads(), 'thread')} of a CPU"
        device = torch.cuda.get_device_name() if self.accelerator.device.type == "cuda" else cpu
        took = round(self.seconds_before + time.monotonic() - self.started, 1)
        write_json(folder / checkpoint.RUN, asdict(checkpoint.Run(device, self.processes.count, took)))
        checkpoint.save_state(folder, state)

    def _name_best(self) -> None:
        best, folder = self.progress.best_checkpoint, self.output_dir
        with self._writing():
            if best is not None:
                named = checkpoint.Best(best, self.progress.best, self.options.best_by)
                write_json(folder / checkpoint.BEST, asdict(named))
            checkpoint.prune(folder, self.options.save_total_limit, None if best is None else folder / best)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say of a full disk what is kept, and how to go on."""
        try:
            yield
        except OSError as error:
            raise HyperXError(
                f"step {self.progress.step} cannot be written into {self.output_dir}: {error}; "
                f"{self._last_checkpoint()}. Make room, then go on with the same command and --resume"
            ) from error

    def _last_checkpoint(self) -> str:
        kept = checkpoint.checkpoints(self.output_dir)
        return f"the last checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"

    # Resuming ---------------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Continue from the last complete checkpoint, or from the beginning if there is none."""
        main, device = self.accelerator.is_main_process, self.accelerator.device
        if main:
            checkpoint.clean(self.output_dir)
        if saved := checkpoint.checkpoints(self.output_dir):
            last, then = saved[-1], lasting_settings(checkpoint.read_config(saved[-1]))
            check_same(then, lasting_settings(self.bare_model.config), "setting")
            state = checkpoint.read_state(last, State)
            check_same(state.fingerprint, self.fingerprint, "data")
            self.bare_model.load_tensors(checkpoint.read_tensors(last))
            try:
                self.optimizer.load_state_dict({"state": state.moments, "param_groups": state.groups})
                self.scheduler.load_state_dict(state.scheduler)
                if state.scaler and self.accelerator.scaler is not None:
                    self.accelerator.scaler.load_state_dict(state.scaler)
                random = state.random[self.processes.number]
                torch.set_rng_state(random["cpu"])
                if "cuda" in random and device.type == "cuda":
                    torch.cuda.set_rng_state(random["cuda"], device)
            except (LookupError, RuntimeError, TypeError, ValueError) as error:
                raise CheckpointError(f"{last / checkpoint.STATE} does not fit this run: {error}") from error
            self.progress = state.progress
            own = slice(self.processes.number, None, self.processes.count)
            self.losses = [torch.tensor(loss, device=device) for loss in state.losses[own]]
            if (last / checkpoint.RUN).is_file():
                self.seconds_before = checkpoint.read_json(last / checkpoint.RUN, checkpoint.Run).seconds
            log.info("resuming from %s", last)
        else:
            log.warning("--resume: %s has no checkpoint yet; starting from the beginning", self.output_dir)
        if main:
            self._trim_log()
            # A kill may have come between writing the best checkpoint and naming it in best.json.
            self._name_best()

    def _trim_log(self) -> None:
        """Drop the log's lines past the resumed step: they will be written again."""
        path, step, due, kept = self.output_dir / checkpoint.LOG, self.progress.step, self.progress.evaluation_due, ""
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else ():
            at = json.loads(line) if line.endswith("}\n") else {"step": math.inf}  # the last may be half written
            # If the evaluation of the resumed step is due, of its lines only that of the loss is kept.
            kept += line * (at["step"] < step + ("loss" in at or not due))
        if path.is_file():
            write_text(path, kept)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of this process's random number generators, by device type."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state
