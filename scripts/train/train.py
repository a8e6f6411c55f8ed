# Trains one model of the reference pair within a time budget, resumable, and exports it.
# SPDX-License-Identifier: Apache-2.0
"""Usage: train.py --model hybrid|full --out DIR --seconds BUDGET [--seed N] [--compile] [--resume]

DIR/log.jsonl        one line every --log-every steps, then the held-out evaluation
DIR/checkpoint.pt    every --checkpoint-every seconds and at the end; --resume goes on from it
DIR/plan.json        steps made in each stage; `--plan plan.json` repeats them whatever the clock says
DIR/export/          the model folder: safetensors in bf16, config, tokenizer
"""
import argparse
import json
import math
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

from configs import CONFIGS, GENERATION
from data import DATA, MAX_ANSWERS, PAD, TASKS, EvalData, StageData
from model import PARTS, Model, load_config
from safetensors_io import read_safetensors, write_safetensors

# The share of the time budget, what lengths (with the share of their batches), what tasks.
STAGES = [
    {"name": "easy-256", "fraction": 0.13, "lengths": {"256": 1}, "easy": True},
    {"name": "256", "fraction": 0.15, "lengths": {"256": 1}},
    {"name": "512", "fraction": 0.22, "lengths": {"256": 0.3, "512": 0.7}},
    {"name": "1k", "fraction": 0.20, "lengths": {"256": 0.15, "512": 0.25, "1024": 0.6}},
    {"name": "4k", "fraction": 0.30, "lengths": {"512": 0.15, "1024": 0.2, "2048": 0.3, "4096": 0.35},
     "sparse": True},
]
# Block selection in training: a tighter budget than the exported model's, so that it bites at these lengths.
SELECTION = {"window_size": 512, "topk": 32, "dense_len": 2048}
LAST_RATE = 1e-5
LM_WEIGHT = 0.2
SELECTION_WEIGHT, SELECTION_ROWS, SELECTION_LEAST = 0.5, 64, 512  # rows a sequence, least tokens


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=list(CONFIGS), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1000, help="whole run, evaluation included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from DIR/checkpoint.pt if it exists")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=65536, help="tokens per step")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--init", type=Path, help="start from this exported model")
    parser.add_argument("--keep", default="", help="export what this pattern finds, the rest from --init")
    parser.add_argument("--warm-up", type=int, default=200, help="steps")
    parser.add_argument("--stages", help="JSON list of stages instead of the built-in ones")
    parser.add_argument("--plan", type=Path, help="JSON list: steps of each stage, instead of the clock")
    parser.add_argument("--max-steps", type=int, help="stop this call after so many steps, no export")
    parser.add_argument("--config", type=Path, help="another config.json")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--checkpoint-every", type=float, default=60)
    parser.add_argument("--eval-seconds", type=float, default=75, help="kept of the budget for the end")
    parser.add_argument("--eval-lengths", default="1024,4096,8192,16384")
    parser.add_argument("--eval-samples", type=int, default=48, help="per task and length up to 8192")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--benchmark", action="store_true",
                        help="speed and memory of every shape, eager and compiled; trains nothing")
    return parser.parse_args()


def uses_blocks(model, length, sparse_stage):
    """Block selection changes nothing below dense_len, so it is left out there."""
    sparse = model.selection
    return bool(sparse_stage and sparse and length >= sparse["dense_len"])


def rows_to_watch(is_answer):
    """Rows (B, SELECTION_ROWS) for the selection loss: those that predict answers, then others, spread."""
    position = torch.arange(is_answer.shape[1], device=is_answer.device)
    spread = (position * 0.6180339887) % 1.0
    return (2 * is_answer + spread).topk(SELECTION_ROWS, dim=1).indices


def to_device(batch, device):
    """tokens, targets (-1: none), answer number of the target, task."""
    tokens = batch["tokens"].to(device, non_blocking=True).long()
    answer = batch["answer"].to(device, non_blocking=True).long()
    targets = torch.full_like(tokens, -1)
    targets[:, :-1] = tokens[:, 1:]
    targets[targets == PAD] = -1
    shifted = torch.zeros_like(answer)
    shifted[:, :-1] = answer[:, 1:]
    return tokens, targets, shifted, batch["task"].to(device, non_blocking=True)


def count_exact(correct, answer, task, totals):
    """Adds (answers entirely right, answers) of each task to totals (tasks, 2), without a sync."""
    rows = len(answer)
    group = (answer + (MAX_ANSWERS + 1) * torch.arange(rows, device=answer.device)[:, None]).view(-1)
    size = rows * (MAX_ANSWERS + 1)
    ones = torch.ones_like(group, dtype=torch.float32)
    there = ones.new_zeros(size).scatter_add_(0, group, ones)
    wrong = ones.new_zeros(size).scatter_add_(0, group, (~correct).float().view(-1))
    there = there.view(rows, -1)[:, 1:] > 0
    right = there & (wrong.view(rows, -1)[:, 1:] == 0)
    totals.index_add_(0, task, torch.stack([right.sum(1), there.sum(1)], 1).float())


def make_loader(data, indices, workers, device):
    ahead = {"prefetch_factor": 4} if workers else {}
    return torch.utils.data.DataLoader(
        data, sampler=indices, batch_size=None, num_workers=workers, pin_memory=device == "cuda",
        **ahead)


class Trainer:
    def __init__(self, args):
        self.args = args
        self.start = time.time()
        self.device = args.device
        self.dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
        self.stages = json.loads(args.stages) if args.stages else STAGES
        self.plan = json.loads(args.plan.read_text()) if args.plan else None
        if self.plan is not None and len(self.plan) != len(self.stages):
            raise SystemExit(f"{args.plan}: {len(self.plan)} entries for {len(self.stages)} stages")
        torch.manual_seed(args.seed)
        if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):
            torch.backends.cuda.enable_cudnn_sdp(False)  # plans per shape; heads here share one K and V
        config = load_config(args.config) if args.config else CONFIGS[args.model]
        self.model = Model(config).to(self.device)
        if args.init:
            self.model.load_state_dict(self.initial())
        if self.model.selection and not args.config:
            self.model.selection = {**self.model.selection, **SELECTION}
        if args.compile:
            self.model.compile()
        matrices = [p for n, p in self.model.named_parameters() if p.dim() > 1 and "embed" not in n]
        others = [p for n, p in self.model.named_parameters() if p.dim() == 1 or "embed" in n]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
            lr=args.rate, betas=(0.9, 0.95), **({"fused": True} if self.device == "cuda" else {}))
        self.step = self.stage = self.stage_step = self.tokens = 0
        self.elapsed_before = 0.0
        self.made = [0] * len(self.stages)
        self.stop = False

    def initial(self):
        """Weights of --init by name."""
        weights = read_safetensors(self.args.init / "model.safetensors")
        return {name: value.float() for name, value in weights.items()}

    # --- clock and schedule -----------------------------------------------------------------------

    def elapsed(self):
        return self.elapsed_before + time.time() - self.start

    def training_seconds(self):
        return self.args.seconds - min(self.args.eval_seconds, 0.2 * self.args.seconds)

    def progress(self):
        """Share of the run that is over: by the clock, or by the plan's steps."""
        before = sum(stage["fraction"] for stage in self.stages[: self.stage])
        total = sum(stage["fraction"] for stage in self.stages)
        if self.plan is not None:
            share = self.stage_step / max(1, self.plan[self.stage])
            return (before + share * self.stages[self.stage]["fraction"]) / total
        return min(1.0, self.elapsed() / self.training_seconds())

    def stage_over(self):
        if self.plan is not None:
            return self.stage_step >= self.plan[self.stage]
        end = sum(stage["fraction"] for stage in self.stages[: self.stage + 1])
        total = sum(stage["fraction"] for stage in self.stages)
        return self.elapsed() >= self.training_seconds() * end / total

    def rate(self):
        decay = LAST_RATE + (self.args.rate - LAST_RATE) * (1 - self.progress())
        return decay * min(1.0, (self.step + 1) / self.args.warm_up)

    # --- one step ----------------------------------------------------------------------------------

    def train_step(self, batch, sparse):
        """Returns (loss, answer loss, answer-token accuracy, gradient norm, selection loss) on the device."""
        tokens, targets, answer, task = to_device(batch, self.device)
        self.model.sparse = uses_blocks(self.model, tokens.shape[1], sparse)
        is_answer = (answer > 0).float()
        n_answer = is_answer.sum().clamp(min=1)
        watch = self.model.selection and tokens.shape[1] >= SELECTION_LEAST
        self.model.selection_rows = rows_to_watch(is_answer) if watch else None
        lm, on_answers, correct = self.model.losses(tokens, targets, is_answer, self.dtype)
        lm, on_answers = lm / (targets >= 0).sum(), on_answers / n_answer
        selection = sum(self.model.selection_losses, torch.zeros((), device=self.device))
        self.model.selection_losses = []
        (on_answers + LM_WEIGHT * lm + SELECTION_WEIGHT * selection).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        rate = self.rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        correct = correct.view_as(answer)
        accuracy = (correct * is_answer).sum() / n_answer
        parts = (lm, on_answers, accuracy, norm, selection)
        return (torch.stack([part.detach() for part in parts]),
                lambda totals: count_exact(correct, answer, task, totals))

    # --- files ---------------------------------------------------------------------------------------

    def log(self, record):
        line = json.dumps(record)
        print(line, flush=True)
        with open(self.args.out / "log.jsonl", "a") as file:
            file.write(line + "\n")

    def save(self):
        path = self.args.out / "checkpoint.pt"
        torch.save({
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "stage": self.stage, "stage_step": self.stage_step,
            "tokens": self.tokens, "elapsed": self.elapsed(), "made": self.made,
        }, str(path) + ".new")
        os.replace(str(path) + ".new", path)

    def load(self):
        path = self.args.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("step", "stage", "stage_step", "tokens", "made"):
            setattr(self, name, state[name])
        self.elapsed_before = state["elapsed"]

    # --- the run -------------------------------------------------------------------------------------

    def run(self):
        args = self.args
        args.out.mkdir(parents=True, exist_ok=True)
        if args.resume:
            self.load()
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stop", True))
        last_step = self.step + args.max_steps if args.max_steps else None
        options = {key: str(value) if isinstance(value, Path) else value
                   for key, value in vars(args).items()}
        self.log({"start": options, "stages": self.stages, "plan": self.plan,
                  "parameters": self.model.count(), "step": self.step, "torch": torch.__version__,
                  "device": torch.cuda.get_device_name() if self.device == "cuda" else "cpu"})
        while self.stage < len(self.stages):
            self.run_stage(last_step)
            if self.stop or (last_step is not None and self.step >= last_step):
                self.save()
                return
            self.stage, self.stage_step = self.stage + 1, 0
        self.save()
        (args.out / "plan.json").write_text(json.dumps(self.made) + "\n")
        if args.keep:
            kept = {name: value for name, value in self.model.state_dict().items()
                    if re.search(args.keep, name)}
            self.model.load_state_dict({**self.initial(), **kept})
        export(self.model, args.out / "export", args.data, args.model)
        self.evaluate()
        self.log({"done": True, "elapsed": round(self.elapsed(), 1)})

    def run_stage(self, last_step):
        args, stage = self.args, self.stages[self.stage]
        if self.stage_over():
            return
        data = StageData(stage, args.seed, args.tokens, args.data)
        batches = iter(make_loader(data, range(self.stage_step, 1 << 30), args.workers, self.device))
        sums = torch.zeros(5, device=self.device)
        totals = torch.zeros(len(TASKS), 2, device=self.device)
        since, seen, waited, n = time.time(), 0, 0.0, 0
        saved = time.time()
        while True:
            before = time.time()
            batch = next(batches)
            waited += time.time() - before
            values, exact = self.train_step(batch, stage.get("sparse", False))
            sums += values
            exact(totals)
            self.step += 1
            self.stage_step += 1
            self.made[self.stage] += 1
            self.tokens += batch["tokens"].numel()
            seen += batch["tokens"].numel()
            n += 1
            over = self.stage_over() or self.stop or self.step == last_step
            if n % args.log_every == 0 or over:
                lm, on_answers, accuracy, norm, selection = (sums / n).tolist()
                if not math.isfinite(lm + on_answers + norm):
                    raise SystemExit(f"step {self.step}: the loss is not finite; resume from the checkpoint")
                span = time.time() - since
                self.log({
                    "step": self.step, "tokens": self.tokens, "stage": stage["name"],
                    "elapsed": round(self.elapsed(), 1), "lr": round(self.rate(), 7),
                    "loss": round(lm, 4), "answer_loss": round(on_answers, 4),
                    "answer_accuracy": round(accuracy, 4), "grad_norm": round(norm, 3), "selection_loss": round(selection, 4),
                    "exact": {task: [round(float(right / count), 3), int(count)]
                              for task, (right, count) in zip(TASKS, totals.tolist()) if count},
                    "tokens_per_second": round(seen / span), "data_wait": round(waited / span, 3),
                    "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)
                    if self.device == "cuda" else None,
                })
                sums.zero_()
                totals.zero_()
                since, seen, waited, n = time.time(), 0, 0.0, 0
                if time.time() - saved > args.checkpoint_every and not over:
                    self.save()
                    saved = time.time()
            if over:
                return

    @torch.no_grad()
    def evaluate(self):
        """Teacher-forced exact answers on held-out prompts with the exported weights."""
        args = self.args
        for p in self.model.parameters():
            p.copy_(p.to(torch.bfloat16))
        self.model.selection_rows = None
        self.model.parts = dict(PARTS)  # uncompiled: shapes vary
        cells = []
        for length in map(int, filter(None, args.eval_lengths.split(","))):
            samples = args.eval_samples if length <= 8192 else max(1, args.eval_samples // 3)
            rows = max(1, min(samples, args.tokens // length))
            for task in TASKS[:-1]:
                cells += [(task, length, min(rows, samples - done), done)
                          for done in range(0, samples, rows)]
        data = EvalData(cells, args.seed, args.data)
        result, prose = {}, {}
        batches = make_loader(data, range(len(cells)), args.workers, self.device)
        for (task, length, rows, _), batch in zip(cells, batches):
            tokens, targets, answer, index = to_device(batch, self.device)
            self.model.sparse = uses_blocks(self.model, length, True)
            lm, _, correct = self.model.losses(tokens, targets, (answer > 0).float(), self.dtype)
            totals = torch.zeros(len(TASKS), 2, device=self.device)
            count_exact(correct.view_as(answer), answer, index, totals)
            cell = result.setdefault(length, {}).setdefault(task, [0, 0])
            for i in (0, 1):
                cell[i] += int(totals[:, i].sum())
            whole = prose.setdefault(length, [0.0, 0])
            whole[0] += float(lm)
            whole[1] += int((targets >= 0).sum())
        for length, tasks in result.items():
            self.log({"eval": {"length": length, "exact": tasks,
                               "loss": round(prose[length][0] / prose[length][1], 4)}})


def export(model, folder, data, name):
    """Writes a model folder that sala and Hugging Face read."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.to(torch.bfloat16).cpu() for key, value in model.state_dict().items()}
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(model.config, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(Path(data) / "models" / f"needle-{name}" / file, folder / file)


def benchmark(args):
    """Prints tokens/s, seconds of the first step and memory of every shape, eager and compiled."""
    stages = json.loads(args.stages) if args.stages else STAGES
    gpu = args.device == "cuda"
    for compiled in (False, True):
        args.compile = compiled
        trainer = Trainer(args)
        shapes = dict.fromkeys(
            (int(length), uses_blocks(trainer.model, int(length), stage.get("sparse", False)))
            for stage in stages for length in stage["lengths"])
        for length, sparse in shapes:
            stage = {"name": "benchmark", "lengths": {str(length): 1}}
            batch = {key: torch.from_numpy(value)
                     for key, value in StageData(stage, 1, args.tokens, args.data)[0].items()}
            if gpu:
                torch.cuda.reset_peak_memory_stats()
            times = []
            for _ in range(15):
                before = time.time()
                values, _ = trainer.train_step(batch, sparse)
                values.tolist()
                times.append(time.time() - before)
            print(json.dumps({
                "model": args.model, "length": length, "sparse": sparse, "compiled": compiled,
                "tokens_per_second": round(args.tokens * 10 / sum(times[5:])),
                "first_step_seconds": round(times[0], 2),
                "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if gpu else None,
            }), flush=True)
        del trainer
    stage = {"name": "benchmark", "lengths": {"256": 1}}
    batches = iter(make_loader(StageData(stage, 1, args.tokens, args.data), range(1 << 30), args.workers,
                               args.device))
    next(batches)
    before, n = time.time(), 0
    while time.time() - before < 5:
        next(batches)
        n += 1
    print(json.dumps({"data_tokens_per_second": round(n * args.tokens / (time.time() - before)),
                      "workers": args.workers}), flush=True)


if __name__ == "__main__":
    arguments = parse()
    if arguments.benchmark:
        benchmark(arguments)
    else:
        Trainer(arguments).run()
    sys.exit(0)
