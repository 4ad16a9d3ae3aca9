// Tape: what happened in the forward pass, so that it can be walked backwards.
//
// An op records a step: the tensors its backward pass will need, and a function that turns the gradients of its
// outputs into those of its inputs. Gradients of intermediate tensors live here, made on first use and freed as soon
// as they were used; gradients of parameters are views of one flat buffer, to which ops add.
import type { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'

/** A trainable tensor: its value and the place where its gradient is summed up. */
export interface Parameter {
  readonly value: Tensor
  readonly gradient: Tensor
}

interface Step {
  readonly saved: readonly Tensor[]
  readonly backward: () => void
}

// How many holders a gradient has, where it is more than one: tapes of recomputed segments pass gradients on.
const sharers = new WeakMap<Tensor, number>()

export class Tape {
  readonly device: Device
  readonly #steps: Step[] = []
  readonly #gradients = new Map<Tensor, Tensor>()
  /** How many steps still need a saved tensor. */
  readonly #needed = new Map<Tensor, number>()
  /** Tensors that live longer than the tape by somebody else's care. */
  readonly #borrowed = new Set<Tensor>()
  readonly #slices = new Map<Tensor, { parent: Tensor; start: number; end: number }>()

  constructor(device: Device) {
    this.device = device
  }

  /** Tensors that steps may save but that the tape must not free, such as the batch's token ids. */
  borrow(...tensors: Tensor[]): void {
    for (const tensor of tensors) this.#borrowed.add(tensor)
  }

  /** A tape for a segment of this one: it borrows what this one borrows. */
  segment(): Tape {
    const inner = new Tape(this.device)
    inner.borrow(...this.#borrowed)
    return inner
  }

  /** Adds a step. `saved` are kept until it has run in the backward pass. */
  record(saved: readonly (Tensor | undefined)[], backward: () => void): void {
    const present = saved.filter(tensor => tensor !== undefined && !this.#borrowed.has(tensor)) as Tensor[]
    for (const tensor of present) {
      this.device.keep(tensor)
      this.#needed.set(tensor, (this.#needed.get(tensor) ?? 0) + 1)
    }
    this.#steps.push({ saved: present, backward })
  }

  /** True when a recorded step will need this tensor. */
  needs(tensor: Tensor): boolean {
    return this.#needed.has(tensor)
  }

  /** Columns [start, end) of `parent` as a tensor of their own, whose gradient is the same columns of the parent's. */
  slice(parent: Tensor, start: number, end: number): Tensor {
    const view = parent.slice(start, end)
    this.#slices.set(view, { parent, start, end })
    return view
  }

  /** The gradient that reached `tensor`. */
  gradient(tensor: Tensor): Tensor {
    const slice = this.#slices.get(tensor)
    const gradient = this.#gradients.get(slice?.parent ?? tensor)
    if (gradient === undefined) throw new Error(`tape: no gradient reached ${tensor}`)
    return slice ? gradient.slice(slice.start, slice.end) : gradient
  }

  hasGradient(tensor: Tensor): boolean {
    return this.#gradients.has(tensor)
  }

  /**
   * Gives `tensor` a gradient: `write` fills the buffer it is handed (uninitialised, or zeros when `zeroed`). A
   * gradient that was there before is added. Of a slice's parent, each column must be produced exactly once.
   */
  produce(tensor: Tensor, write: (target: Tensor) => void, zeroed = false): void {
    const slice = this.#slices.get(tensor)
    if (slice) {
      let whole = this.#gradients.get(slice.parent)
      if (whole === undefined) {
        whole = this.device.keep(this.#buffer(slice.parent, zeroed))
        this.#gradients.set(slice.parent, whole)
      }
      write(whole.slice(slice.start, slice.end))
      return
    }
    const target = this.#buffer(tensor, zeroed)
    write(target)
    this.accumulate(tensor, target)
  }

  /** Hands a finished gradient to one or more tensors that share it; the tape owns it from now on. */
  share(gradient: Tensor, ...tensors: Tensor[]): void {
    sharers.set(gradient, tensors.length)
    for (const tensor of tensors) this.accumulate(tensor, gradient)
  }

  accumulate(tensor: Tensor, gradient: Tensor): void {
    const existing = this.#gradients.get(tensor)
    if (existing === undefined) {
      this.#gradients.set(tensor, this.device.keep(gradient))
      return
    }
    const { ops, handle } = this.device
    const sum = this.#buffer(tensor, false)
    ops.addRows(handle, existing.handle, gradient.handle, sum.handle)
    this.#gradients.set(tensor, this.device.keep(sum))
    this.#drop(existing)
    this.#drop(gradient)
  }

  /** The gradient of `tensor` is not needed any more. */
  consume(tensor: Tensor): void {
    const gradient = this.#gradients.get(tensor)
    if (gradient === undefined) return
    this.#gradients.delete(tensor)
    this.#drop(gradient)
  }

  /** Takes the gradient of `tensor` away from the tape, or undefined when none reached it. */
  take(tensor: Tensor): Tensor | undefined {
    const gradient = this.#gradients.get(tensor)
    this.#gradients.delete(tensor)
    return gradient
  }

  /** Walks back through all steps. Saved tensors are freed when the last step that needs them has run. */
  backward(): void {
    for (let step = this.#steps.at(-1); step !== undefined; step = this.#steps.at(-1)) {
      this.device.scope(step.backward)
      this.#steps.pop()
      for (const tensor of step.saved) this.#release(tensor)
    }
    this.#slices.clear()
  }

  /** Frees all that the tape still holds. */
  dispose(): void {
    for (const step of this.#steps) for (const tensor of step.saved) this.#release(tensor)
    this.#steps.length = 0
    for (const tensor of [...this.#gradients.keys()]) this.consume(tensor)
  }

  // Gradients of activations have their dtype.
  #buffer({ shape, dtype }: Tensor, zeroed: boolean): Tensor {
    const like = dtype === 'bfloat16' ? dtype : 'float32'
    return zeroed ? this.device.zeros(shape, like) : this.device.empty(shape, like)
  }

  #drop(gradient: Tensor): void {
    const others = (sharers.get(gradient) ?? 1) - 1
    if (others > 0) sharers.set(gradient, others)
    else gradient.dispose()
  }

  #release(tensor: Tensor): void {
    const needed = (this.#needed.get(tensor) ?? 1) - 1
    if (needed > 0) {
      this.#needed.set(tensor, needed)
      return
    }
    this.#needed.delete(tensor)
    tensor.dispose()
  }
}

/**
 * A segment whose intermediates are not kept: the forward pass runs `body` without a tape, the backward pass runs it
 * again with one of its own. Trades one more forward pass for memory; gradients are the same bits.
 *
 * @param inputs intermediate tensors that `body` reads; their gradients go on to `tape`
 * @param body a pure function of `inputs` and of parameters; it must not change `inputs`
 */
export function recompute(
  tape: Tape | undefined,
  inputs: readonly Tensor[],
  body: (tape: Tape | undefined) => Tensor[],
): Tensor[] {
  if (tape === undefined) return body(undefined)
  const { device } = tape
  const outputs = device.scope(() => body(undefined))
  tape.record(inputs, () => {
    const inner = tape.segment()
    try {
      inner.borrow(...inputs)
      const again = body(inner)
      outputs.forEach((output, i) => {
        const gradient = tape.take(output)
        const twin = again[i]
        if (gradient !== undefined && twin !== undefined) inner.accumulate(twin, gradient)
      })
      inner.backward()
      for (const input of inputs) {
        const gradient = inner.take(input)
        if (gradient !== undefined) tape.accumulate(input, gradient)
      }
    } finally {
      inner.dispose()
    }
  })
  return outputs
}
