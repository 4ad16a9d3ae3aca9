"""Times PyTorch, and Triton's and Liger-Kernel's ops where they are installed, on cases of benchmarks/card-cases.ts.

    python3 benchmarks/pytorch/card_peers.py [--device cuda] [--rounds 20] [--small] [--json FILE] [--table FILE]
    python3 benchmarks/pytorch/card_peers.py --list      # the cases by op and name; needs no PyTorch
    python3 benchmarks/pytorch/card_peers.py --check     # whether it can run here, in one line

Prints one row per peer and op; a peer that is missing or fails is named with its reason. Caches are flushed before each
call. --table writes what luffy_kernel_bench reads (--peers). Exit code 0, 1 when nothing was timed, 2 for wrong arguments,
3 without PyTorch, 7 without the device.
"""
import argparse
import json
import sys
import time

# (op, name of the case as in card-cases.ts)
LOSS = ("logits-policy-loss", "bfloat16: 1024x151936, regularized")
LINEAR_LOSS = ("linear-policy-loss", "bfloat16: 8192x4096x131072, regularized")
LOG_PROB = ("token-log-prob", "bfloat16: forward 1024x151936")
LINEAR = ("linear", "bfloat16: forward 8192x4096x4096")
RMS_NORM = ("rms-norm", "bfloat16: forward 8192x4096, residual")
RMS_NORM_BACKWARD = ("rms-norm", "bfloat16: backward 8192x4096, gradient of the sum")
SWIGLU = ("swiglu", "bfloat16: forward 8192x8192")
SWIGLU_BACKWARD = ("swiglu", "bfloat16: backward 8192x8192")
ATTENTION = ("attention", "bfloat16: forward 8x2048, 32/8 heads of 128")
ATTENTION_BACKWARD = ("attention", "bfloat16: backward 8x2048, 32/8 heads of 128")
ADAMW = ("adamw", "64000000")
CASES = [LOSS, LINEAR_LOSS, LOG_PROB, LINEAR, RMS_NORM, RMS_NORM_BACKWARD, SWIGLU, SWIGLU_BACKWARD, ATTENTION,
         ATTENTION_BACKWARD, ADAMW]

# Bound by import_torch.
torch = None
functional = None


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--small", action="store_true", help="tiny shapes, to try the script")
    parser.add_argument("--json")
    parser.add_argument("--table")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {options.rounds}")
    return options


def import_torch(device):
    """Why nothing can be timed here: (exit code, message); None when it can."""
    global torch, functional
    try:
        import torch as found
        import torch.nn.functional as found_functional
    except Exception as error:  # an installation that is broken in any way is one that is missing
        return 3, f"PyTorch is not installed: {first_line(error)}"
    torch, functional = found, found_functional
    if device.startswith("cuda") and not torch.cuda.is_available():
        return 7, f"no device: PyTorch {torch.__version__} finds no GPU (CUDA {torch.version.cuda or 'left out'})"
    return None


def first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


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


# Each group makes its tensors and yields (case, peer, call, bytes, flops): what it holds is given back before the next.


def losses(device, scale):
    rows, vocabulary = 1024 // scale, 151_936 // scale
    tokens = torch.randint(vocabulary, (rows,), device=device)
    logits = torch.randn(rows, vocabulary, device=device, dtype=torch.bfloat16)
    moved = 4 * rows * vocabulary

    def loss_and_gradient():
        x = logits.detach().requires_grad_()
        functional.cross_entropy(x.float(), tokens, reduction="sum").backward()

    yield LOSS, "PyTorch cross_entropy", loss_and_gradient, moved, 0

    def direct():
        x = logits.detach().requires_grad_()
        functional.cross_entropy(x, tokens, reduction="sum").backward()

    yield LOSS, "PyTorch cross_entropy in bfloat16", direct, moved, 0
    yield (LOG_PROB, "PyTorch log_softmax",
           lambda: torch.log_softmax(logits.float(), -1).gather(1, tokens[:, None]), moved // 2, 0)
    liger = liger_ops()
    if liger:
        # It writes the gradient over the logits.
        states = logits.clone()

        def liger_loss():
            result = liger["cross_entropy"].apply(states.detach().requires_grad_(), tokens, None)
            (result[0] if isinstance(result, tuple) else result).backward()

        yield LOSS, "Liger-Kernel cross entropy", liger_loss, moved, 0


def linear_losses(device, scale):
    rows, hidden, vocabulary = 8192 // scale, 4096 // scale, 131_072 // scale
    half = torch.bfloat16
    tokens = torch.randint(vocabulary, (rows,), device=device)
    states = torch.randn(rows, hidden, device=device, dtype=half, requires_grad=True)
    head = (torch.randn(vocabulary, hidden, device=device, dtype=half) / hidden ** 0.5).requires_grad_()
    flops = 6 * rows * hidden * vocabulary

    def in_chunks(size):
        """The logits of `size` rows at a time, as a training loop that cannot hold all of them does it."""
        states.grad = head.grad = None
        for begin in range(0, rows, size):
            logits = functional.linear(states[begin:begin + size], head).float()
            functional.cross_entropy(logits, tokens[begin:begin + size], reduction="sum").backward()

    yield LINEAR_LOSS, "PyTorch, 1024 rows at a time", lambda: in_chunks(max(1, 1024 // scale)), 0, flops
    liger = liger_ops()
    if liger:

        def liger_loss():
            states.grad = head.grad = None
            result = liger["linear_cross_entropy"].apply(states, head, tokens)
            (result[0] if isinstance(result, tuple) else result).backward()

        yield LINEAR_LOSS, "Liger-Kernel linear cross entropy", liger_loss, 0, flops


def products(device, scale):
    m, hidden = 8192 // scale, 4096 // scale
    x = torch.randn(m, hidden, device=device, dtype=torch.bfloat16)
    weight = torch.randn(hidden, hidden, device=device, dtype=torch.bfloat16)
    bias = torch.randn(hidden, device=device, dtype=torch.bfloat16)
    yield LINEAR, "PyTorch linear", lambda: functional.linear(x, weight, bias), 0, 2 * m * hidden * hidden


def norms(device, scale):
    m, hidden = 8192 // scale, 4096 // scale
    half = torch.bfloat16
    x, residual, gradient = (torch.randn(m, hidden, device=device, dtype=half) for _ in range(3))
    weight = torch.ones(hidden, device=device, dtype=half)
    moved = 8 * m * hidden

    def plain(s, norm):
        y = s.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).to(half) * norm

    yield RMS_NORM, "PyTorch", lambda: plain(x + residual, weight), moved, 0
    fused = getattr(functional, "rms_norm", None)
    if fused:
        yield RMS_NORM, "PyTorch rms_norm", lambda: fused(x + residual, (hidden,), weight, 1e-6), moved, 0
    s, norm = x.detach().requires_grad_(), weight.detach().requires_grad_()
    out = (lambda: fused(s, (hidden,), norm, 1e-6))() if fused else plain(s, norm)

    def backward():
        return torch.autograd.grad(out, (s, norm), gradient, retain_graph=True)[0] + residual

    yield RMS_NORM_BACKWARD, "PyTorch", backward, moved, 0
    liger = liger_ops()
    if liger:
        yield RMS_NORM, "Liger-Kernel", lambda: liger["rms_norm"].apply(x + residual, weight, 1e-6), moved, 0


def activations(device, scale):
    m, width = 8192 // scale, 8192 // scale
    half = torch.bfloat16
    both = torch.randn(m, 2 * width, device=device, dtype=half)
    gradient = torch.randn(m, width, device=device, dtype=half)
    moved, moved_back = 6 * m * width, 10 * m * width
    yield SWIGLU, "PyTorch", lambda: functional.silu(both[:, :width]) * both[:, width:], moved, 0
    leaf = both.detach().requires_grad_()
    out = functional.silu(leaf[:, :width]) * leaf[:, width:]
    yield (SWIGLU_BACKWARD, "PyTorch",
           lambda: torch.autograd.grad(out, leaf, gradient, retain_graph=True), moved_back, 0)
    liger = liger_ops()
    if liger:
        left, right = both[:, :width].contiguous(), both[:, width:].contiguous()
        yield SWIGLU, "Liger-Kernel", lambda: liger["swiglu"].apply(left, right), moved, 0


def attentions(device, scale):
    heads, kv_heads, length, size = (32, 8, 2048, 128) if scale == 1 else (4, 1, 32, 32)
    half = torch.bfloat16
    q = torch.randn(8, heads, length, size, device=device, dtype=half, requires_grad=True)
    # Keys and values as often as queries: each backend takes them, and none has to read fewer.
    k, v = (torch.randn(8, kv_heads, length, size, device=device, dtype=half)
            .repeat_interleave(heads // kv_heads, 1).requires_grad_() for _ in range(2))
    gradient = torch.randn_like(q)
    pairs = 8 * heads * size * length * (length + 1) // 2
    for name, chosen in attention_backends():
        def forward(chosen=chosen):
            with chosen():
                return functional.scaled_dot_product_attention(q, k, v, is_causal=True)

        yield ATTENTION, f"PyTorch attention, {name}", forward, 0, 4 * pairs
        try:
            out = forward()
        except RuntimeError:
            continue  # named by the row above
        yield (ATTENTION_BACKWARD, f"PyTorch attention, {name}",
               lambda out=out: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True), 0, 10 * pairs)


def attention_backends():
    """What PyTorch chooses, then each of its backends by name."""
    import contextlib
    yield "its choice", contextlib.nullcontext
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:
        return
    for name in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION"):
        if hasattr(SDPBackend, name):
            yield name.lower(), lambda backend=getattr(SDPBackend, name): sdpa_kernel(backend)


def optimizers(device, scale):
    n = 64_000_000 // scale ** 2
    for name, how in (("fused", {"fused": True}), ("foreach", {"foreach": True})):
        parameter = torch.nn.Parameter(torch.randn(n, device=device))
        parameter.grad = torch.randn(n, device=device)
        optimizer = torch.optim.AdamW([parameter], lr=1e-6, **how)
        yield ADAMW, f"PyTorch AdamW, {name}", optimizer.step, 28 * n, 0


GROUPS = [losses, linear_losses, products, norms, activations, attentions, optimizers]
found_liger = None


def liger_ops():
    """Its functions, or {} where it is not installed, which is said once."""
    global found_liger
    if found_liger is None:
        try:
            from liger_kernel.ops.cross_entropy import LigerCrossEntropyFunction
            from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction
            from liger_kernel.ops.rms_norm import LigerRMSNormFunction
            from liger_kernel.ops.swiglu import LigerSiLUMulFunction

            found_liger = {"cross_entropy": LigerCrossEntropyFunction, "rms_norm": LigerRMSNormFunction,
                           "linear_cross_entropy": LigerFusedLinearCrossEntropyFunction,
                           "swiglu": LigerSiLUMulFunction}
        except Exception as error:  # any fault of another package's import is a reason, not ours to hide
            print(f"Liger-Kernel is left out: {first_line(error)}")
            found_liger = {}
    return found_liger


def main():
    options = parse()
    if options.list:
        print("\n".join("\t".join(case) for case in CASES))
        return 0
    reason = import_torch(options.device)
    if reason:
        print(reason[1], file=sys.stderr)
        return reason[0]
    if options.check:
        print(f"PyTorch {torch.__version__}")
        return 0
    scale = 64 if options.small else 1
    clock = Clock(options.device, options.rounds, options.small)
    rows = []
    for group in GROUPS:
        try:
            for (op, case), peer, call, moved, flops in group(options.device, scale):
                case += ", small" if options.small else ""
                try:
                    seconds = clock.time(call)
                except Exception as error:  # a peer's fault costs its own row
                    print(f"{op:20} {case:50} {peer}: failed, {first_line(error)}", flush=True)
                    continue
                rows.append({"op": op, "case": case, "peer": peer, "seconds": seconds, "bytes": moved,
                             "flops": flops})
                rate = f"{moved / seconds / 1e9:8.0f} GB/s" if moved else f"{flops / seconds / 1e9:8.0f} GFLOP/s"
                print(f"{op:20} {case:50} {peer:38} {seconds * 1e6:10.1f} us {rate}", flush=True)
        except Exception as error:  # one of making the tensors, such as too little memory, costs the group
            print(f"{group.__name__}: failed, {first_line(error)}", flush=True)
        if options.device.startswith("cuda"):
            torch.cuda.empty_cache()
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": name, "torch": torch.__version__, "rows": rows}, file, indent=2)
    if options.table:
        with open(options.table, "w") as file:
            file.writelines(f"{row['op']}\t{row['case']}\t{row['peer']}\t{row['seconds']:.9g}\n" for row in rows)
    print(f"{len(rows)} timed")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
