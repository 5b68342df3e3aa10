"""The optimiser and its schedules: the equation of AdamW, what decays, and rates that a resumed run continues."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import nn
from transformers import SchedulerType, get_scheduler

from hyperx.config import Scheduler, TrainingOptions
from hyperx.encoders.families import norm_modules
from hyperx.model import HyperX
from hyperx.training.optimiser import make_optimizer, make_scheduler, without_decay
from tiny import tiny_batch, tiny_encoder, tiny_model

PAIRS = ["ner#en", "pos#tr"]
IDS, MASK = tiny_batch([6, 4])
NORMS = {"add_layer_norm_before_adapter": True, "add_layer_norm_after_adapter": True}
CPU = torch.device("cpu")


def decayed(model: HyperX) -> set[str]:
    return {name for name, parameter in model.named_parameters() if id(parameter) not in without_decay(model)}


# Weight decay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", ["hypernetwork", "stacked"])
def test_two_steps_follow_the_equation_of_adamw(sharing: str) -> None:
    """``p <- p - lr (wd p + m / (sqrt(v) + eps))`` with m and v without their bias towards zero (Loshchilov 2019)."""
    model = tiny_model(adapters=sharing, options=NORMS).requires_grad_(True)
    decay, beta1, beta2 = 0.3, 0.9, 0.999
    options = TrainingOptions(learning_rate=1e-2, encoder_learning_rate_scale=0.2, weight_decay=decay)
    optimizer = make_optimizer(model, options, CPU)
    names = decayed(model)
    norms = {f"encoder.{name}.{kind}" for name, _ in norm_modules(model.encoder) for kind in ("weight", "bias")}
    wanted = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    first = {name: torch.zeros_like(tensor) for name, tensor in wanted.items()}
    second = {name: torch.zeros_like(tensor) for name, tensor in wanted.items()}
    for step in (1, 2):
        optimizer.zero_grad()
        model(PAIRS, IDS, MASK).hidden.pow(2).mean().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                continue
            first[name] = beta1 * first[name] + (1 - beta1) * parameter.grad
            second[name] = beta2 * second[name] + (1 - beta2) * parameter.grad**2
            m, v = first[name] / (1 - beta1**step), second[name] / (1 - beta2**step)
            rate = 2e-3 if name.startswith("encoder.") and name not in norms else 1e-2
            shrunk = wanted[name] * (1 - rate * decay) if name in names else wanted[name]
            wanted[name] = shrunk - rate * m / (v.sqrt() + 1e-8)
        optimizer.step()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.detach(), wanted[name], atol=1e-6, rtol=1e-5, msg=name)


def test_the_generators_and_all_other_matrices_decay() -> None:
    model = tiny_model(options=NORMS | {"conditional_layer_norm": True}, adapter_non_linearity="prelu")
    matrices = {f"hypernetwork.{name}.weight" for name in ("down", "down_bias", "up", "up_bias")}
    matrices |= {f"hypernetwork.norm_{place}.{kind}.weight" for place in ("pre", "post") for kind in ("weight", "bias")}
    matrices |= {"hypernetwork.projector.0.weight", "hypernetwork.projector.2.weight"}
    matrices |= {"heads.ner.weight", "heads.pos.weight"}
    outside = {name for name in decayed(model) if not name.startswith("encoder.")}
    assert outside == matrices
    inside = decayed(model) - outside
    linear = {f"encoder.{name}.weight" for name, part in model.encoder.named_modules() if isinstance(part, nn.Linear)}
    assert inside == linear


def test_plain_adapters_decay_but_for_their_biases_and_norms() -> None:
    model = tiny_model(options=NORMS, adapters="task")
    outside = {name for name in decayed(model) if name.startswith("plain_adapters.")}
    assert outside == {f"plain_adapters.task-{task}.{kind}" for task in ("ner", "pos") for kind in ("down", "up")}


@pytest.mark.parametrize("family", ["bert", "eurobert", "mt5"])
def test_no_norm_decays(family: str) -> None:
    """Norms are known by their names too: those of EuroBERT and mT5 are no LayerNorm of PyTorch's."""
    model = tiny_model(encoder=tiny_encoder(family))
    norms = {f"encoder.{name}.{kind}" for name, _ in norm_modules(model.encoder) for kind in ("weight", "bias")}
    assert norms
    assert not norms & decayed(model)


def test_frozen_parameters_are_not_handed_to_the_optimiser() -> None:
    model = tiny_model()
    groups = make_optimizer(model, TrainingOptions(weight_decay=0.1), CPU).param_groups
    handed = [parameter for group in groups for parameter in group["params"]]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {id(parameter) for parameter in handed} == {id(parameter) for parameter in trained}
    assert len(handed) == len(trained)


# Accumulation ---------------------------------------------------------------------------------------------------------


def test_accumulated_gradients_are_those_of_one_batch() -> None:
    """Equal tasks and lengths: the mean over two batches is the mean over both together."""
    model = tiny_model(adapter_non_linearity="gelu").train()
    ids, mask = tiny_batch([5, 5, 5, 5])
    pairs, labels = ["ner#en", "pos#tr"] * 2, torch.tensor([[1, 0, 2, 1, 0]] * 4)

    def gradients(rows: list[slice]) -> dict[str, Any]:
        model.zero_grad()
        for part in rows:
            (model(pairs[part], ids[part], mask[part], labels[part]).loss / len(rows)).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}

    whole, halves = gradients([slice(0, 4)]), gradients([slice(0, 2), slice(2, 4)])
    assert whole.keys() == halves.keys()
    for name, gradient in halves.items():
        torch.testing.assert_close(gradient, whole[name], atol=1e-6, rtol=1e-4, msg=name)


# Schedules ------------------------------------------------------------------------------------------------------------

STEPS = 20


def optimizer_of() -> torch.optim.AdamW:
    return torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1e-3)


def rates(optimizer: torch.optim.AdamW, scheduler: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return found


@pytest.mark.parametrize("name", get_args(Scheduler))
@pytest.mark.parametrize("stop", [1, 4, 13])
def test_every_schedule_resumes_exactly(name: str, stop: int) -> None:
    options = TrainingOptions(lr_scheduler_type=name, warmup_steps=3)
    optimizer = optimizer_of()
    whole = rates(optimizer, make_scheduler(optimizer, options, STEPS), STEPS)
    first = optimizer_of()
    scheduler = make_scheduler(first, options, STEPS)
    before = rates(first, scheduler, stop)
    states = first.state_dict(), scheduler.state_dict()
    second = optimizer_of()
    resumed = make_scheduler(second, options, STEPS)
    second.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    assert before + rates(second, resumed, STEPS - stop) == whole
    if name != "constant":
        assert whole[0] == pytest.approx(1e-3 / 3), "warm-up"
    assert max(whole) == pytest.approx(1e-3)


@pytest.mark.parametrize("name", get_args(Scheduler))
@pytest.mark.parametrize("warmup", [STEPS - 1, STEPS, STEPS + 1])
def test_a_warm_up_may_be_as_long_as_the_run(name: str, warmup: int) -> None:
    optimizer = optimizer_of()
    found = rates(
        optimizer, make_scheduler(optimizer, TrainingOptions(lr_scheduler_type=name, warmup_steps=warmup), STEPS), STEPS
    )
    expected = [1e-3 if name == "constant" else 1e-3 * step / warmup for step in range(1, STEPS)]
    assert found[:-1] == pytest.approx(expected)


def test_every_schedule_of_the_library_that_can_be_had_by_its_name_is_there() -> None:
    """The others need an argument that has no default, or the value of an evaluation at every step."""
    by_evaluation = {"reduce_lr_on_plateau", "greedy"}
    usable = set()
    for kind in SchedulerType:
        try:
            get_scheduler(kind, optimizer_of(), num_warmup_steps=3, num_training_steps=STEPS)
        except (TypeError, ValueError):
            continue
        usable.add(kind.value)
    assert usable - by_evaluation == set(get_args(Scheduler))
