// attention: causal, grouped-query, over packed sequences with shared prefixes. Contract: native/ops/attention.h.
import type { Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

export interface AttentionInputs {
  /** [T, H*D], [T, K*D], [T, K*D], float32 or bfloat16; rows may be strided. */
  q: Tensor
  k: Tensor
  v: Tensor
  /** [S, 4] int32: {start, length, prefixStart, prefixLength} of each sequence. */
  sequences: Tensor
  /** Of the scores; 1 / sqrt(D) in a transformer. */
  scale: number
  heads: number
}

/** Returns [T, H*D], of q's dtype. */
export function attention(tape: Tape | undefined, inputs: AttentionInputs): Tensor {
  const { q, k, v, sequences, scale, heads } = inputs
  const dtype = activationDtype(q)
  checkTensor('attention', 'q', q, dtype, [-1, -1])
  checkTensor('attention', 'k', k, dtype, [q.rows, -1])
  checkTensor('attention', 'v', v, dtype, [q.rows, k.columns])
  checkTensor('attention', 'sequences', sequences, 'int32', [-1, 4])
  const { device } = q
  const { ops, handle } = device
  const out = device.empty([q.rows, q.columns], dtype)
  const lse = device.empty([q.rows, heads]) // its shape also tells the kernel the number of heads
  ops.attentionForward(handle, q.handle, k.handle, v.handle, sequences.handle, scale, out.handle, lse.handle)
  tape?.record([q, k, v, out, lse, sequences], () => {
    const gradOut = tape.gradient(out)
    tape.produce(q, gradQ =>
      tape.produce(k, gradK =>
        tape.produce(v, gradV =>
          ops.attentionBackward(
            handle,
            gradOut.handle,
            q.handle,
            k.handle,
            v.handle,
            out.handle,
            lse.handle,
            sequences.handle,
            scale,
            gradQ.handle,
            gradK.handle,
            gradV.handle,
          ),
        ),
      ),
    )
    tape.consume(out)
  })
  return out
}
