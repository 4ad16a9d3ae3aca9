"""Times PyTorch, and Triton's and Liger-Kernel's ops where they are installed, on the shapes of benchmarks/card-cases.ts.

    python3 benchmarks/pytorch/card_peers.py [--device cuda] [--rounds 20] [--small] [--json FILE]

Prints one row per peer and op; a peer that is missing is named with its reason. Caches are flushed before each call.
"""
import argparse
import json
import sys
import time

try:
    import torch
    import torch.nn.functional as functional
except ImportError as error:
    print(f"PyTorch is not installed: {error}")
    sys.exit(3)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--small", action="store_true", help="tiny shapes, to try the script")
    parser.add_argument("--json")
    return parser.parse_args()


class Clock:
    """Median seconds of a call, each after a write over a large buffer."""

    def __init__(self, device, rounds, small):
        self.device = device
        self.rounds = rounds
        self.flush = torch.empty((1 if small else 64) << 20, dtype=torch.int32, device=device)

    def time(self, call):
        for _ in range(3):
            call()
        seconds = []
        for _ in range(self.rounds):
            self.flush.zero_()
            if self.device.startswith("cuda"):
                begin = torch.cuda.Event(enable_timing=True)
                end = torch.cuda.Event(enable_timing=True)
                begin.record()
                call()
                end.record()
                end.synchronize()
                seconds.append(begin.elapsed_time(end) / 1e3)
            else:
                started = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - started)
        return sorted(seconds)[len(seconds) // 2]


def cases(device, small):
    """(op, case, peer, call, bytes, flops)"""
    half = torch.bfloat16
    scale = 64 if small else 1
    rows, vocabulary, hidden = 1024 // scale, 151_936 // scale, 4096 // scale
    tokens = torch.randint(vocabulary, (rows,), device=device)
    logits = torch.randn(rows, vocabulary, device=device, dtype=half)

    def loss_and_gradient():
        x = logits.detach().requires_grad_()
        functional.cross_entropy(x.float(), tokens, reduction="sum").backward()

    yield ("logits-policy-loss", f"{rows}x{vocabulary} bfloat16", "PyTorch cross_entropy", loss_and_gradient,
           4 * rows * vocabulary, 0)
    yield ("token-log-prob", f"{rows}x{vocabulary} bfloat16", "PyTorch log_softmax",
           lambda: torch.log_softmax(logits.float(), -1).gather(1, tokens[:, None]), 2 * rows * vocabulary, 0)

    m = 8192 // scale
    x = torch.randn(m, hidden, device=device, dtype=half)
    weight = torch.randn(hidden, hidden, device=device, dtype=half)
    yield ("linear", f"{m}x{hidden}x{hidden} bfloat16", "PyTorch linear", lambda: functional.linear(x, weight), 0,
           2 * m * hidden * hidden)

    norm = torch.ones(hidden, device=device, dtype=half)

    def rms_norm():
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).to(half) * norm

    yield ("rms-norm", f"{m}x{hidden} bfloat16", "PyTorch", rms_norm, 4 * m * hidden, 0)
    gate = torch.randn(m, 2 * hidden, device=device, dtype=half)
    yield ("swiglu", f"{m}x{hidden} bfloat16", "PyTorch",
           lambda: functional.silu(gate[:, :hidden]) * gate[:, hidden:], 6 * m * hidden, 0)

    heads, length, size = 32 // min(scale, 8), 2048 // scale, 128 // min(scale, 4)
    q, k, v = (torch.randn(8, heads, length, size, device=device, dtype=half) for _ in range(3))
    flops = 4 * 8 * heads * size * length * (length + 1) // 2
    yield ("attention", f"forward 8x{length}, {heads} heads of {size} bfloat16", "PyTorch scaled_dot_product_attention",
           lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=True), 0, flops)

    n = 64_000_000 // scale ** 2
    parameter = torch.nn.Parameter(torch.randn(n, device=device))
    parameter.grad = torch.randn(n, device=device)
    fused = {"fused": True} if device.startswith("cuda") else {}
    optimizer = torch.optim.AdamW([parameter], lr=1e-6, **fused)
    yield ("adamw", f"{n}", "PyTorch AdamW", optimizer.step, 28 * n, 0)
    yield from liger_cases(device, x, gate, tokens, rows, vocabulary, hidden)


def liger_cases(device, x, gate, tokens, rows, vocabulary, hidden):
    try:
        from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction
        from liger_kernel.ops.rms_norm import LigerRMSNormFunction
        from liger_kernel.ops.swiglu import LigerSiLUMulFunction
    except Exception as error:  # any fault of another package's import is a reason, not ours to hide
        print(f"Liger-Kernel is left out: {error}")
        return
    norm = torch.ones(hidden, device=device, dtype=torch.bfloat16)
    yield ("rms-norm", f"{x.shape[0]}x{hidden} bfloat16", "Liger-Kernel",
           lambda: LigerRMSNormFunction.apply(x, norm, 1e-6), 4 * x.numel(), 0)
    left, right = gate[:, :hidden].contiguous(), gate[:, hidden:].contiguous()
    yield ("swiglu", f"{x.shape[0]}x{hidden} bfloat16", "Liger-Kernel",
           lambda: LigerSiLUMulFunction.apply(left, right), 6 * left.numel(), 0)
    states = x[:rows].detach().requires_grad_()
    head = torch.randn(vocabulary, hidden, device=device, dtype=torch.bfloat16, requires_grad=True)

    def fused_loss():
        result = LigerFusedLinearCrossEntropyFunction.apply(states, head, tokens)
        (result[0] if isinstance(result, tuple) else result).backward()

    yield ("linear-policy-loss", f"{rows}x{hidden}x{vocabulary} bfloat16", "Liger-Kernel", fused_loss, 0,
           6 * rows * hidden * vocabulary)


def main():
    options = parse()
    clock = Clock(options.device, options.rounds, options.small)
    rows = []
    for op, case, peer, call, moved, flops in cases(options.device, options.small):
        try:
            seconds = clock.time(call)
        except (RuntimeError, AttributeError) as error:
            print(f"{op:20} {peer}: {str(error).splitlines()[0]}")
            continue
        rows.append({"op": op, "case": case, "peer": peer, "seconds": seconds, "bytes": moved, "flops": flops})
        rate = f"{moved / seconds / 1e9:8.0f} GB/s" if moved else f"{flops / seconds / 1e9:8.0f} GFLOP/s"
        print(f"{op:20} {case:44} {peer:38} {seconds * 1e6:10.1f} us {rate}")
    if options.json:
        name = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
        with open(options.json, "w") as file:
            json.dump({"device": name, "torch": torch.__version__, "rows": rows}, file, indent=2)
    return 0 if rows else 1


sys.exit(main())
