// embedding: out[t] = table[tokens[t]]. Contract: native/ops/embedding.h.
import type { Parameter, Tape } from '../autograd/tape.js'
import type { Tensor } from '../tensor/tensor.js'
import { activationDtype, checkTensor } from '../tensor/tensor.js'

/** tokens [T] int32 -> [T, C]. Token ids outside the table fail the stream: check them before (see checkTokens). */
export function embedding(tape: Tape | undefined, tokens: Tensor, table: Parameter): Tensor {
  checkTensor('embedding', 'tokens', tokens, 'int32', [-1])
  checkTensor('embedding', 'table', table.value, activationDtype(table.value), [-1, -1])
  const { device } = tokens
  const { ops, handle } = device
  const out = device.empty([tokens.rows, table.value.columns], table.value.dtype)
  ops.embeddingForward(handle, tokens.handle, table.value.handle, out.handle)
  tape?.record([tokens], () => {
    ops.embeddingBackward(handle, tokens.handle, tape.gradient(out).handle, table.gradient.handle)
    tape.consume(out)
  })
  return out
}
