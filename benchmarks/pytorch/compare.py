"""The benchmark's losses, training steps and sampling in eager PyTorch, for scale.

Prints one JSON object: {"torch": version, "threads": n, "matrixGflops": rate, "seconds": {case: median seconds}}. Run
by `npm run bench -- --peers` when /usr/bin/python3 can import torch (Debian's python3-torch, and libopenblas0-openmp:
without it the products are those of the reference BLAS, 30 times slower); never a dependency of luffy.
Usage: compare.py [threads] [case ...]; without cases all are run.
"""

import json
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

MEDIUM = dict(vocab=8192, width=384, layers=8, heads=6, kv_heads=2, feed_forward=1024)
SMALL = dict(vocab=64, width=128, layers=4, heads=4, kv_heads=4, feed_forward=384)


class RMSNorm(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def rotate(x, cosine, sine):
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


class Block(torch.nn.Module):
    """Qwen2's layer: grouped-query attention with biases on q, k and v, and SwiGLU."""

    def __init__(self, width, heads, kv_heads, feed_forward):
        super().__init__()
        self.heads, self.kv_heads, self.head = heads, kv_heads, width // heads
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.qkv = torch.nn.Linear(width, (heads + 2 * kv_heads) * self.head)
        self.output = torch.nn.Linear(width, width, bias=False)
        self.gate_up = torch.nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = torch.nn.Linear(feed_forward, width, bias=False)

    def forward(self, x, cosine, sine, mask, cache=None):
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, -1, self.head).transpose(1, 2)
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        if cache is not None:
            if cache:
                k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
            cache[:] = [k, v]
        repeats = self.heads // self.kv_heads
        if repeats > 1:
            k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.head)
        if mask is not None:
            scores = scores + mask
        attended = torch.softmax(scores, -1) @ v
        x = x + self.output(attended.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Policy(torch.nn.Module):
    def __init__(self, vocab, width, layers, heads, kv_heads, feed_forward):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab, width)
        torch.nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = torch.nn.ModuleList(Block(width, heads, kv_heads, feed_forward) for _ in range(layers))
        self.norm = RMSNorm(width)
        self.head = width // heads

    def hidden(self, tokens, start=0, caches=None):
        length = tokens.shape[1]
        frequencies = 10000.0 ** (-torch.arange(0, self.head, 2).float() / self.head)
        angles = torch.arange(start, start + length).float()[:, None] * frequencies
        angles = torch.cat((angles, angles), -1)
        cosine, sine = angles.cos(), angles.sin()
        mask = torch.full((length, length), -math.inf).triu(1) if length > 1 else None
        x = self.embedding(tokens)
        for i, block in enumerate(self.blocks):
            x = block(x, cosine, sine, mask, None if caches is None else caches[i])
        return self.norm(x)

    def logits(self, hidden):
        return hidden @ self.embedding.weight.T


def luffy_loss(log_probs, old, advantages, off_policy, gamma=0.1):
    """Ratio on-policy, p / (p + gamma) off-policy; the sum over a constant."""
    p = log_probs.exp()
    ratio = torch.where(off_policy, p / (p + gamma), (log_probs - old).exp())
    return -(ratio * advantages).sum() / log_probs.numel()


def loss_case(rows, vocab):
    logits = torch.randn(rows, vocab) * 3
    tokens = torch.randint(vocab, (rows,))
    old, advantages = torch.full((rows,), -math.log(vocab)), torch.randn(rows)
    off_policy = torch.arange(rows) % 8 == 7

    def run():
        leaf = logits.detach().requires_grad_()
        log_probs = torch.log_softmax(leaf, -1).gather(1, tokens[:, None])[:, 0]
        luffy_loss(log_probs, old, advantages, off_policy).backward()

    return run


def train_case(shape, sequences, length, rows_at_once):
    policy = Policy(**shape)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6, weight_decay=0.01)
    tokens = torch.randint(shape["vocab"], (sequences, length))
    old = torch.full((sequences, length - 1), -math.log(shape["vocab"]))
    advantages = torch.where(torch.arange(sequences) % 2 == 0, 0.5, -0.5)[:, None].expand(-1, length - 1)
    off_policy = (torch.arange(sequences) % 8 == 7)[:, None].expand(-1, length - 1)

    def run():
        optimizer.zero_grad(set_to_none=True)
        for start in range(0, sequences, rows_at_once):
            part = slice(start, start + rows_at_once)
            logits = policy.logits(policy.hidden(tokens[part, :-1]))
            log_probs = torch.log_softmax(logits, -1).gather(2, tokens[part, 1:, None])[..., 0]
            share = log_probs.numel() / old.numel()
            (luffy_loss(log_probs, old[part], advantages[part], off_policy[part]) * share).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()

    return run


def sample_case(shape, sequences, prompt, new_tokens):
    policy = Policy(**shape)
    prompts = torch.randint(shape["vocab"], (sequences, prompt))

    @torch.no_grad()
    def run():
        caches = [[] for _ in policy.blocks]
        tokens, start = prompts, 0
        for _ in range(new_tokens):
            hidden = policy.hidden(tokens, start, caches)[:, -1]
            start += tokens.shape[1]
            log_probs = torch.log_softmax(policy.logits(hidden), -1)
            tokens = torch.multinomial(log_probs.exp(), 1)
            log_probs.gather(1, tokens)

    return run


CASES = {
    "logits-policy-loss 512x32000": lambda: loss_case(512, 32000),
    "logits-policy-loss 128x151936": lambda: loss_case(128, 151936),
    "train-step 16x256": lambda: train_case(MEDIUM, 16, 256, 4),
    "train-step 256x64": lambda: train_case(SMALL, 256, 64, 64),
    "sample 16x16+48": lambda: sample_case(MEDIUM, 16, 16, 48),
    "sample 256x16+48": lambda: sample_case(SMALL, 256, 16, 48),
}


def timed(run):
    run()
    seconds = []
    while len(seconds) < 3 or (sum(seconds) < 2 and len(seconds) < 20):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def matrix_gflops():
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return 2 * 1024**3 / timed(lambda: a @ b) / 1e9


def main():
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    chosen = sys.argv[2:] or list(CASES)
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    seconds = {name: timed(CASES[name]()) for name in chosen}
    rate = matrix_gflops()
    print(json.dumps({"torch": torch.__version__, "threads": threads, "matrixGflops": rate, "seconds": seconds}))


if __name__ == "__main__":
    main()
